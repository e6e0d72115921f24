"""Exports a log into a data lake, and has DuckDB find the state before each state there.

    python_states.py PROGRAM DATABASE STATES

STATES are those of the devices `lake-1` and `lake-2` as the API tells them, in order of time: their positions,
devices, and states before and after, as JSON. Prints nothing; what does not hold ends it with an error.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import duckdb

program, database, states = sys.argv[1:]
told = [
    (int(of["position"]), of["deviceId"], of["newState"], of["previousState"]) for of in json.loads(states)
]
lake = pathlib.Path(tempfile.mkdtemp()) / "lake"
exported = [program, "export", "--database", database, "--lake", str(lake)]
subprocess.run(exported, check=True, stdout=subprocess.PIPE)

# as README has it
rows = duckdb.sql(f"""
  SELECT position, device_id, occurred_at, new_state,
    lag(new_state) OVER (PARTITION BY device_id ORDER BY occurred_at, position) AS state_before
  FROM read_parquet('{lake}/kind=device_state_history/**/*.parquet', hive_partitioning = true)
  ORDER BY occurred_at, position
""").fetchall()
derived = [
    (position, device, state, before)
    for position, device, _, state, before in rows
    if device in ("lake-1", "lake-2")
]
assert derived == told, (derived, told)

# the column is what was known when each was recorded: the newest before it in time of those that stand before it
in_time = [(position, device, state) for position, device, _, state, _ in rows]


def known(place):
    position, device, _ = in_time[place]
    before = [state for at, of, state in in_time[:place] if of == device and at < position]
    return before[-1] if before else None


kept = duckdb.sql(f"""
  SELECT previous_state
  FROM read_parquet('{lake}/kind=device_state_history/**/*.parquet', hive_partitioning = true)
  ORDER BY occurred_at, position
""").fetchall()
assert [state for (state,) in kept] == [known(place) for place in range(len(in_time))], kept
assert any(state != before for (state,), (*_, before) in zip(kept, rows)), "nothing came late"
