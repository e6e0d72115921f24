"""Asks DuckDB what the benchmark of series asks the server, of the same rows.

    duckdb.py PARQUET TIMES

The rows are loaded into a file of DuckDB beside the Parquet, once. Prints a line for each question: its name, a
tab, and the median of its milliseconds, fetching included.
"""

import pathlib
import statistics
import sys
import time

# the folder of this script comes first, and it has this script's name
sys.path.pop(0)
import duckdb

parquet, times = pathlib.Path(sys.argv[1]), int(sys.argv[2])
db = duckdb.connect(str(parquet.with_suffix(".duckdb")))
db.execute("SET TimeZone = 'UTC'")
db.execute(
    "CREATE TABLE IF NOT EXISTS metrics AS SELECT occurred_at AT TIME ZONE 'UTC' AS happened, device_id AS device, "
    "'site-' || (CAST(device_id[5:] AS INTEGER) % 10 + 1) AS site, cpu_percent AS cpu "
    f"FROM '{parquet}' ORDER BY device, happened"
)
[(end,)] = db.execute("SELECT date_trunc('hour', max(happened)) + INTERVAL 1 HOUR FROM metrics").fetchall()
of_days = "FROM metrics WHERE happened >= $end - to_days($days) AND happened < $end"
p95 = "quantile_disc(cpu, 0.95)"
asked = [
    ("site × hour, 30 d: avg, max", 30, f"SELECT site, date_trunc('hour', happened), avg(cpu), max(cpu) {of_days} GROUP BY ALL"),
    (
        "site × hour, 30 d: avg, max, p95",
        30,
        f"SELECT site, date_trunc('hour', happened), avg(cpu), max(cpu), {p95} {of_days} GROUP BY ALL",
    ),
    (
        "device × hour, 7 d: avg, max",
        7,
        f"SELECT date_trunc('hour', happened), avg(cpu), max(cpu) {of_days} AND device = 'pos-00007' GROUP BY ALL",
    ),
    (
        "fleet × day, 30 d: avg, max, p95",
        30,
        f"SELECT date_trunc('day', happened), avg(cpu), max(cpu), {p95} {of_days} GROUP BY ALL",
    ),
    (
        "100 devices as one value, 30 d: avg, p95",
        30,
        f"SELECT device, avg(cpu), {p95} {of_days} GROUP BY ALL",
    ),
]
for name, days, sql in asked:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        db.execute(sql, {"end": end, "days": days}).fetchall()
        took.append((time.perf_counter() - began) * 1000)
    print(f"{name}\t{statistics.median(took):.3f}")
