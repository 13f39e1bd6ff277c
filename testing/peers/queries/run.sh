#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The same queries on the same chat log: alos, PostgreSQL 15, SQLite and, for what it is made for,
# DuckDB, in turn on this machine.
#
# Usage: testing/peers/queries/run.sh [--documents N] [--rounds N] [--repetitions N] [--seconds S]
#                                     [--query NAMES] [--server PATH --chat PATH --bars PATH]
#
# Builds what it is not given with -c opt; installs what is missing (Debian's postgresql-15 and
# python3-psycopg2; duckdb from PyPI into the user's cache, without which its column is empty).
# Loads everything into a temporary directory, which goes in the end, and gives every database the
# indexes that its manual recommends. Every round asks every database the same questions, one after
# the other; the table has the medians over the rounds. A query ends after S seconds in each round.
# Exit status: 1 if two databases found different numbers of results.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../../ports.sh"
workspace=$(cd "$here/../../.." && pwd)
documents=1000000 rounds=3 repetitions=30 seconds=5 query=''
server='' chat='' bars=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || { echo "run.sh: $1 has no value" >&2; exit 2; }
  case $1 in
    --documents) documents=$2 ;;
    --rounds) rounds=$2 ;;
    --repetitions) repetitions=$2 ;;
    --seconds) seconds=$2 ;;
    --query) query=$2 ;;
    --server) server=$2 ;;
    --chat) chat=$2 ;;
    --bars) bars=$2 ;;
    *) sed -n '5,17s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2
done
if [ -z "$server" ] || [ -z "$chat" ] || [ -z "$bars" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //testing/datasets:chat //testing/bars) >&2
  server=${server:-$workspace/bazel-bin/server/server}
  chat=${chat:-$workspace/bazel-bin/testing/datasets/chat}
  bars=${bars:-$workspace/bazel-bin/testing/bars/bars}
fi

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
need() { # PACKAGES...: of Debian
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  local install=("${as_root[@]}" apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}")
  "${install[@]}" >/dev/null 2>&1 ||
    { "${as_root[@]}" apt-get update -qq && "${install[@]}"; } >/dev/null
}

scratch=$(mktemp -d)
chmod 711 "$scratch" # PostgreSQL has a user of its own
children=()
postgres_data=$scratch/postgres
as_postgres=()
finish() {
  [ ! -e "$postgres_data/postmaster.pid" ] ||
    "${as_postgres[@]}" "$postgres_bin/pg_ctl" -D "$postgres_data" -m immediate stop >/dev/null 2>&1 || true
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

# Debian's Python: psycopg2 is made for it, and its SQLite is Debian's.
python=/usr/bin/python3
systems=(alos)
echo "making $documents messages" >&2
"$chat" --documents "$documents" --output "$scratch/log.json" --format json --quiet

if need postgresql-15 python3-psycopg2; then
  postgres_bin=/usr/lib/postgresql/15/bin
  mkdir "$postgres_data" "$scratch/socket"
  if [ "$(id -u)" = 0 ]; then
    as_postgres=(runuser -u postgres --)
    chown postgres: "$postgres_data" "$scratch/socket"
  fi
  memory_mb=$(awk '/MemTotal/ {printf "%d", $2 / 1024}' /proc/meminfo)
  (cd / && "${as_postgres[@]}" "$postgres_bin/initdb" -D "$postgres_data" -A trust -U postgres \
    -E UTF8 --locale=C.UTF-8 >/dev/null)
  # What the manual and its wiki advise: a quarter of the memory, a price for random reads that fits.
  cat >>"$postgres_data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$scratch/socket'
shared_buffers = $((memory_mb / 4))MB
effective_cache_size = $((memory_mb / 2))MB
maintenance_work_mem = 512MB
work_mem = 64MB
random_page_cost = 1.1
max_wal_size = 8GB
CONF
  (cd / && "${as_postgres[@]}" "$postgres_bin/pg_ctl" -D "$postgres_data" -w -l "$postgres_data/log" start >/dev/null)
  systems+=(postgresql)
else
  echo "PostgreSQL 15 could not be installed; its column is empty."
fi
systems+=(sqlite)

duckdb=${XDG_CACHE_HOME:-$HOME/.cache}/alos-peers/duckdb
if [ ! -d "$duckdb" ]; then
  need python3-pip &&
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install -q --target "$duckdb.new" --only-binary :all: 'duckdb>=1,<3' >&2 &&
    mv "$duckdb.new" "$duckdb" || rm -rf "$duckdb.new"
fi
if PYTHONPATH=$duckdb "$python" -c 'import duckdb' 2>/dev/null; then
  systems+=(duckdb)
else
  echo "DuckDB could not be installed; its column is empty."
fi
peers() { PYTHONPATH=$duckdb "$python" "$here/peers.py" --scratch "$scratch" "$@"; }

port=$(free_port)
"$server" --port "localhost:$port" --data-path "$scratch/alos" >"$scratch/alos.log" 2>&1 </dev/null &
children+=($!)
for _ in $(seq 300); do
  listening "$port" && break
  kill -0 "${children[0]}" 2>/dev/null || { cat "$scratch/alos.log" >&2; exit 1; }
  sleep 0.1
done

for system in "${systems[@]}"; do
  echo "loading $system" >&2
  if [ "$system" = alos ]; then
    "$chat" --port "localhost:$port" --documents "$documents" --quiet >&2
  else
    peers load "$system" --log "$scratch/log.json" >&2
  fi
done

for round in $(seq "$rounds"); do
  ask=("$bars" --documents "$documents" --draw "$round" --repetitions "$repetitions" --query "$query")
  "${ask[@]}" --parameters >"$scratch/parameters"
  for system in "${systems[@]}"; do
    echo "round $round of $rounds: $system" >&2
    if [ "$system" = alos ]; then
      "${ask[@]}" --port "localhost:$port" --json --time_max "${seconds}s" --warmups 1 \
        --settle "$([ "$round" = 1 ] && echo 120s || echo 0s)" || true
    else
      peers ask "$system" --parameters "$scratch/parameters" --seconds "$seconds"
    fi | sed "s/^{/{\"system\":\"$system\",/" >>"$scratch/measured"
  done
done

echo
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' || true
echo "$(nproc) cores, Linux $(uname -r), $(date -u +%Y-%m-%d); $documents messages of the chat log, one"
echo "connection, p50 (p99), medians of $rounds rounds of $repetitions repetitions (fewer after $seconds s)"
peers versions "${systems[@]:1}"
echo "On disk: $(du -sh "$scratch/alos" | awk '{print "alos " $1}')$(peers sizes "${systems[@]:1}")"
echo
peers table --measured "$scratch/measured" "${systems[@]}"
