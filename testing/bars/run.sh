#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What queries on a chat log cost, through the server and the client, beside what they may cost.
#
# Usage: testing/bars/run.sh [--documents N] [--shards N] [--data-path DIR] [--repetitions N]
#                            [--time-max D] [--settle D] [--query NAMES] [--seed N]
#                            [--cold each|once|no] [--experiments LIST] [--ingest-documents N]
#                            [--server PATH --chat PATH --bars PATH]
#
# Builds what it is not given with -c opt, loads the log into DIR unless it is there already, and
# prints Markdown: every query warm, that is after all of them have run once and the server has
# nothing left to do in the background; every query cold, that is right after a start of the server
# with the page cache dropped (`each`: a start for each query; `once`: one for all); and the
# experiments restart, new-field, all-fields and ingest (LIST is separated by spaces; "" for none).
# Without --data-path everything is in a temporary directory, which goes in the end. Loopback, a
# free port; ends by itself.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../ports.sh"
workspace=$(cd "$here/../.." && pwd)
documents=1000000 shards=256 seed=1 data_path='' repetitions=200 time_max=10s settle=120s
query='' cold=each experiments='restart new-field all-fields ingest' ingest_documents=500000
server='' chat='' bars=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || { echo "run.sh: $1 has no value" >&2; exit 2; }
  case $1 in
    --documents) documents=$2 ;;
    --shards) shards=$2 ;;
    --seed) seed=$2 ;;
    --data-path) data_path=$2 ;;
    --repetitions) repetitions=$2 ;;
    --time-max) time_max=$2 ;;
    --settle) settle=$2 ;;
    --query) query=$2 ;;
    --cold) cold=$2 ;;
    --experiments) experiments=$2 ;;
    --ingest-documents) ingest_documents=$2 ;;
    --server) server=$2 ;;
    --chat) chat=$2 ;;
    --bars) bars=$2 ;;
    *) sed -n '5,19s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2
done
if [ -z "$server" ] || [ -z "$chat" ] || [ -z "$bars" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //testing/datasets:chat //testing/bars) >&2
  server=${server:-$workspace/bazel-bin/server/server}
  chat=${chat:-$workspace/bazel-bin/testing/datasets/chat}
  bars=${bars:-$workspace/bazel-bin/testing/bars/bars}
fi

scratch=$(mktemp -d)
data_path=${data_path:-$scratch/data}
mkdir -p "$data_path"
pid_file=$scratch/server.pid
finish() {
  stop
  rm -rf "$scratch"
}
trap finish EXIT

port=$(free_port)

# Starts the server in the background; bars runs the same to measure it.
start_command="'$server' --port localhost:$port --data-path '$data_path/server' --shards $shards \
  >>'$scratch/log' 2>&1 </dev/null & echo \$! >'$pid_file'"

start() {
  bash -c "$start_command"
  for _ in $(seq 3000); do
    listening "$port" && return
    kill -0 "$(cat "$pid_file")" 2>/dev/null || break
    sleep 0.1
  done
  echo "run.sh: the server does not start:" >&2
  tail "$scratch/log" >&2
  exit 1
}

# In order, so that everything is checkpointed.
stop() {
  [ -s "$pid_file" ] || return 0
  local pid
  pid=$(cat "$pid_file")
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  rm -f "$pid_file"
}

# Waits until the server uses less than a twentieth of a core, two minutes at most.
until_idle() {
  local before now
  for _ in $(seq 120); do
    before=$(awk '{print $14 + $15}' "/proc/$(cat "$pid_file")/stat")
    sleep 1
    now=$(awk '{print $14 + $15}' "/proc/$(cat "$pid_file")/stat")
    [ $((now - before)) -ge 5 ] || return 0
  done
}

# Nothing that was read before is in memory any more. Only root may; says so once if it cannot.
drop_page_cache() {
  sync
  if ! { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; then
    [ -e "$scratch/warned" ] || echo '(The page cache could not be dropped: cold is not quite cold.)'
    touch "$scratch/warned"
  fi
}

ask() {
  "$bars" --port "localhost:$port" --documents "$documents" --seed "$seed" --query "$query" "$@"
}

# What the server holds: anonymous memory is the floor, file pages are the page cache's to take.
memory() {
  local bytes
  bytes=$(find "$data_path/server" -name '*.s[gv]idx*' -printf '%s\n' | awk '{s += $1} END {print s + 0}')
  echo "Resident: $(awk '/VmRSS|RssAnon|RssFile/ {printf "%s %.0f MB, ", $1, $2 / 1000}' \
    "/proc/$(cat "$pid_file")/status")on disk: $(du -sh "$data_path/server" | cut -f1); index files:" \
    "$(awk -v b="$bytes" -v n="$documents" 'BEGIN {
      printf "%.0f MB, %.0f %% of the %.0f MB of MessagePack that the documents are", b / 1e6, b / n / 5.2, n * 520 / 1e6}')"
}

status=0
wanted="$documents messages, seed $seed, $shards shards"
if [ -e "$data_path/loaded" ]; then
  is=$(cat "$data_path/loaded")
  [ "$is" = "$wanted" ] || { echo "run.sh: $data_path holds $is, not $wanted" >&2; exit 2; }
fi
start
if [ ! -e "$data_path/loaded" ]; then
  "$chat" --port "localhost:$port" --documents "$documents" --seed "$seed" | sed 's/^/Loaded /'
  echo "$wanted" >"$data_path/loaded"
fi

echo
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' || true
echo "$(nproc) cores, $(awk '/MemTotal/ {printf "%.0f", $2 / 1048576}' /proc/meminfo) GiB," \
  "Linux $(uname -r), $(date -u +%Y-%m-%d); $wanted; one connection"
echo
until_idle
ask --repetitions "$repetitions" --time_max "$time_max" --settle "$settle" >/dev/null || true
until_idle
ask --repetitions "$repetitions" --time_max "$time_max" --settle "$settle" || status=1
echo
memory

case $cold in
  each)
    echo
    header=true
    for name in $(ask --experiment list); do
      stop
      drop_page_cache
      start
      "$bars" --port "localhost:$port" --documents "$documents" --seed "$seed" --query "$name" \
        --cold --header=$header --draw 7 || status=1
      header=false
    done ;;
  once)
    echo
    stop
    drop_page_cache
    start
    ask --cold --draw 7 || status=1 ;;
esac

for experiment in $experiments; do
  echo
  case $experiment in
    restart)
      stop
      ask --experiment restart --start "$start_command" || status=1 ;;
    new-field)
      ask --experiment new-field || status=1 ;;
    all-fields)
      ask --experiment all-fields || status=1
      echo
      memory ;;
    ingest)
      ask --experiment ingest --ingest_documents "$ingest_documents" || status=1 ;;
    *) echo "run.sh: no experiment is called $experiment" >&2; status=2 ;;
  esac
done
exit $status
