"""Exports a log and has DuckDB read what comes of it.

    python_duckdb.py PROGRAM DATABASE

The log holds the till in tests/data. Prints nothing; what does not hold ends it with an error.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import duckdb

program, database = sys.argv[1:]
folder = pathlib.Path(tempfile.mkdtemp())


def export(*given):
    subprocess.run([program, "export", "--database", database, *given], check=True, stdout=subprocess.PIPE)


def ask(sql):
    return duckdb.sql(sql).fetchall()


with gzip.open("tests/data/till.jsonl.gz", "rt") as lines:
    given = [json.loads(line) for line in lines]
metrics = [event["deviceMetrics"] for event in given if "deviceMetrics" in event]
events, sales = len(metrics), sum(event["transactionCount"] for event in metrics)
first, last = min(e["occurredAt"] for e in metrics), max(e["occurredAt"] for e in metrics)

export("--source", "deviceMetrics", "--out", str(folder / "metrics.parquet"))
export("--source", "deviceMetrics", "--out", str(folder / "metrics.csv"))
export("--out", str(folder / "all.jsonl.gz"))
export("--lake", str(folder / "lake"))
export("--lake", str(folder / "lake"))

counted = f"SELECT count(*), sum(transaction_count), min(occurred_at)::VARCHAR, max(occurred_at)::VARCHAR FROM"
duckdb.sql("SET TimeZone = 'UTC'")
for source in [
    f"'{folder}/metrics.parquet'",
    f"read_csv('{folder}/metrics.csv')",
    f"read_parquet('{folder}/lake/kind=device_metrics/**/*.parquet', hive_partitioning = true)",
]:
    [(count, total, begin, end)] = ask(f"{counted} {source}")
    assert (count, total) == (events, sales), (source, count, total)
    as_text = lambda at: at.replace("T", " ").replace("Z", "+00")
    assert (begin, end) == (as_text(first), as_text(last)), (source, begin, end)

# the folders are columns, by which files are left out
[(days,)] = ask(
    f"SELECT count(DISTINCT day) FROM read_parquet('{folder}/lake/kind=device_metrics/**/*.parquet', "
    "hive_partitioning = true) WHERE day BETWEEN '2017-02-01' AND '2017-02-28'"
)
february = {e["occurredAt"][:10] for e in metrics if e["occurredAt"].startswith("2017-02")}
assert days == len(february), days

# each position once, over all kinds
[(count, distinct)] = ask(
    f"SELECT count(*), count(DISTINCT position) FROM read_parquet('{folder}/lake/kind=*/**/*.parquet', "
    "union_by_name = true)"
)
assert count == distinct >= len(given), (count, distinct)
[(lines,)] = ask(f"SELECT count(*) FROM read_json('{folder}/all.jsonl.gz', format = 'newline_delimited')")
assert lines >= len(given), lines
