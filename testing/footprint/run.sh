#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What a server takes at rest and how fast it starts: memory of a server without and with an empty
# database, disk of an empty database, and the start with a million documents, after a clean stop and
# after kill -9.
#
# Usage: testing/footprint/run.sh [--documents N] [--server PATH --bench PATH]
#
# Builds what it is not given with -c opt. Loopback only, a temporary directory, ends by itself.
set -euo pipefail

workspace=$(cd "$(dirname "$0")/../.." && pwd)
documents=1000000 server='' bench=''
while [ $# -gt 0 ]; do
  case $1 in
    --documents) documents=$2 ;;
    --server) server=$2 ;;
    --bench) bench=$2 ;;
    *) sed -n '5,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2 || { echo "run.sh: a flag without a value" >&2; exit 2; }
done
if [ -z "$server" ] || [ -z "$bench" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //tools/bench)
  server=${server:-$workspace/bazel-bin/server/server}
  bench=${bench:-$workspace/bazel-bin/tools/bench/bench}
fi

scratch=$(mktemp -d)
server_pid=''
finish() {
  [ -z "$server_pid" ] || kill -9 "$server_pid" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

source "$workspace/testing/ports.sh"
port=$(free_port)
now() { date +%s%N; }

# start ARGUMENTS...: sets server_pid, and started_ms to the time until it listens.
start() {
  local begin
  begin=$(now)
  "$server" --port "localhost:$port" --data-path "$scratch/data" "$@" >>"$scratch/log" 2>&1 </dev/null &
  server_pid=$!
  until listening "$port"; do
    kill -0 "$server_pid" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
    sleep 0.005
  done
  started_ms=$((($(now) - begin) / 1000000))
}
stop() { # SIGNAL
  kill "-$1" "$server_pid"
  wait "$server_pid" 2>/dev/null || true
  server_pid=''
}
resident_mib() { awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$server_pid/status"; }
disk_kib() { du -sk "$scratch/data" | cut -f1; }
opened() { grep 'opened database' "$scratch/log" | tail -1 | sed -E 's/.*in ([0-9.e-]+) s.*/\1/'; }

start
sleep 1
printf '%-58s %s\n' 'memory at rest, no database' "$(resident_mib) MiB"
"$bench" --port "127.0.0.1:$port" --db footprint --operation insert-one --connections 1 --warmup 0 --requests 1 >/dev/null
sleep 1
printf '%-58s %s\n' 'memory at rest, one database of 256 shards, one document' "$(resident_mib) MiB"
stop TERM
printf '%-58s %s\n' 'disk of that database' "$(disk_kib) KiB"

start --load-dbs footprint
"$bench" --port "127.0.0.1:$port" --db footprint --operation find-by-id --documents "$documents" \
  --warmup 0 --requests 1000 >/dev/null
sleep 2
printf '%-58s %s\n' "memory with $documents documents of 300 bytes, just loaded" "$(resident_mib) MiB"
stop TERM
printf '%-58s %s\n' 'disk of that database' "$(disk_kib) KiB"
for round in 1 2 3; do
  start --load-dbs footprint
  printf '%-58s %s\n' "start after a clean stop, $documents documents ($round)" "$started_ms ms (database: $(opened) s)"
  [ "$round" != 3 ] || printf '%-58s %s\n' 'memory after that start' "$(resident_mib) MiB"
  stop TERM
done
start --load-dbs footprint
"$bench" --port "127.0.0.1:$port" --db footprint --operation insert-one --warmup 0 --requests 100000 >/dev/null
stop KILL
start --load-dbs footprint
printf '%-58s %s\n' 'start after kill -9 and 100,000 inserts more' "$started_ms ms (database: $(opened) s)"
stop TERM
