#!/usr/bin/env bash
# Run once by the image of PostgreSQL when it makes the database: lets the replica follow it.

set -euo pipefail

echo "host replication homepot all scram-sha-256" >>"$PGDATA/pg_hba.conf"
