"""Takes a log out into a bucket of S3, and has what comes of it read as it stands.

    python_s3.py PROGRAM DATABASE FOLDER

The bucket is one of moto, a server of S3 on this machine. The log holds the till in tests/data. FOLDER is empty, and
takes what is made on the way. Prints nothing; what does not hold ends it with an error.
"""

import gzip
import json
import logging
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

import boto3
import duckdb
from botocore.config import Config
from moto.server import ThreadedMotoServer

program, database, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
LIMIT_SECONDS = 60

logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
moto.start()
host, port = moto.get_host_and_port()
endpoint = f"http://{host}:{port}"
keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": endpoint}
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id="me",
    aws_secret_access_key="secret",
    region_name="eu-west-1",
    config=Config(proxies={}),
)
s3.create_bucket(Bucket="log", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def run(*given, env=environment, seconds=LIMIT_SECONDS):
    return subprocess.run([program, *given], env=env, capture_output=True, text=True, timeout=seconds)


def export(place, **more):
    return run("export", "--database", database, "--lake", place, **more)


def names(prefix, bucket="log"):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sorted(found["Key"] for page in pages for found in page.get("Contents", []))


def download(prefix, into):
    for name in names(prefix):
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file("log", name, str(path))


def until(holds):
    end = time.monotonic() + LIMIT_SECONDS
    while not (found := holds()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)
    return found


with gzip.open("tests/data/till.jsonl.gz", "rt") as lines:
    given = [json.loads(line) for line in lines]
metrics = [event["deviceMetrics"] for event in given if "deviceMetrics" in event]
expected = (len(metrics), sum(event["transactionCount"] for event in metrics))


def read(lake):
    files = f"{folder}/{lake}/kind=device_metrics/**/*.parquet"
    [found] = duckdb.sql(
        f"SELECT count(*), sum(transaction_count) FROM read_parquet('{files}', hive_partitioning = true)"
    ).fetchall()
    return found


# a lake in a bucket goes on where it is
done = export("s3://log/lake")
assert done.returncode == 0, done.stderr
assert "state.json" in {name.rsplit("/", 1)[-1] for name in names("lake/")}
before = names("lake/")
done = export("s3://log/lake")
assert done.returncode == 0 and names("lake/") == before, done
download("lake/", folder)
assert read("lake") == expected, read("lake")

# what cannot be used is told in time, and nothing is written
gone = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
for place, env, words in [
    ("s3://none/lake", environment, ["cannot use s3://none/lake", "NoSuchBucket"]),
    ("s3://log/gone", gone, ["cannot use s3://log/gone"]),
    ("s3://log/a//b", environment, ["s3://BUCKET/PREFIX"]),
]:
    refused = export(place, env=env)
    assert refused.returncode != 0, place
    assert all(word in refused.stderr for word in words), refused.stderr
    assert "secret" not in refused.stderr, refused.stderr
assert names("gone") == [] and names("a/") == []

# one that was broken off is made once more, to the same end
broken = subprocess.Popen(
    [program, "export", "--database", database, "--lake", "s3://log/broken"],
    env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
until(lambda: names("broken/") or broken.poll() is not None)
broken.kill()
broken.wait()
done = export("s3://log/broken")
assert done.returncode == 0, done.stderr
download("broken/", folder)
assert read("broken") == expected, read("broken")

# a server fills a lake by itself, keeps exports there, and archives there
log = f"sqlite://{folder / 'served.db'}"
assert run("import", "tests/data/till.jsonl.gz", "--database", log).returncode == 0
serve = ["serve", "--no-authentication", "--listen", "127.0.0.1:0", "--database", log]
places = ["--lake", "s3://log/served", "--exports", "s3://log/exports", "--segments", "s3://log/segments"]
logged = open(folder / "server.log", "w")
server = subprocess.Popen([program, *serve, *places], env=environment, stdout=subprocess.PIPE, stderr=logged, text=True)
origin = server.stdout.readline().removeprefix("Listening on ").strip()


def ask(query):
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{origin}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
        answered = json.load(answer)
    assert "errors" not in answered, answered
    return answered["data"]


def take(path, **headers):
    request = urllib.request.Request(f"{origin}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
        return answer.read()


try:
    until(lambda: any("manifests/" in name for name in names("served/")))
    until(lambda: b"homepot_lake_lag_events 0" in take("/metrics"))
    download("served/", folder)
    assert read("served") == expected, read("served")

    create = "mutation { createExport(input: { format: PARQUET, sources: [{ deviceMetrics: {} }] }) { export { exportId } } }"
    export_id = ask(create)["createExport"]["export"]["exportId"]
    show = f'{{ export(exportId: "{export_id}") {{ state downloadPath bytes error {{ message }} }} }}'
    made = until(lambda: (found := ask(show)["export"])["state"] not in ("QUEUED", "RUNNING") and found)
    assert made["state"] == "DONE", made
    whole = take(made["downloadPath"])
    assert len(whole) == int(made["bytes"])
    half = len(whole) // 2
    assert whole[:half] + take(made["downloadPath"], Range=f"bytes={half}-") == whole
    (folder / "taken.parquet").write_bytes(whole)
    [taken] = duckdb.sql(f"SELECT count(*), sum(transaction_count) FROM '{folder}/taken.parquet'").fetchall()
    assert taken == expected, taken

    counted = "{ deviceMetrics { totalCount nodes { position } } }"
    before = ask(counted)
    until(lambda: ask("mutation { runRetention { isComplete userErrors { message } } }")["runRetention"]["isComplete"])
    assert names("segments/"), "nothing is archived there"
    assert ask(counted) == before

    # an export that cannot be kept fails with a code
    uploads = s3.list_multipart_uploads(Bucket="log").get("Uploads", [])
    assert uploads == [], uploads
    moto.stop()
    export_id = ask(create)["createExport"]["export"]["exportId"]
    show = f'{{ export(exportId: "{export_id}") {{ state error {{ code }} }} }}'
    failed = until(lambda: (found := ask(show)["export"])["state"] not in ("QUEUED", "RUNNING") and found)
    assert failed == {"state": "FAILED", "error": {"code": "UNWRITABLE"}}, failed
finally:
    server.terminate()
    server.wait(LIMIT_SECONDS)
