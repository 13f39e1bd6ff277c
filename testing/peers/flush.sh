#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What a durable write costs: the journal (`sync`) beside flushing the file of each shard that a commit touches
# (testing/plugins/shard_flush, the policy of alos's model), and `async` as the ceiling, at 1, 16 and 64 connections that
# insert, one request under way on each.
#
# Usage: testing/peers/flush.sh [--rounds N] [--requests N] [--path FOLDER]
#                               [--server PATH --shard-flush-server PATH --bench PATH]
#
# Builds what it is not given with -c opt. FOLDER is on the disk to be measured, a temporary one unless given; what is
# put there is removed. N requests are measured per connection. The table has medians over the rounds, in each of which
# every mode runs once. Not told by it: other disks (the cost of a flush is all there is to it), and commits that touch
# several shards.
set -euo pipefail
workspace=$(cd "$(dirname "$0")/../.." && pwd)
rounds=3 requests_of_one=300 path='' server='' shard_flush='' bench=''
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --requests) requests_of_one=$2 ;;
    --path) path=$2 ;;
    --server) server=$2 ;;
    --shard-flush-server) shard_flush=$2 ;;
    --bench) bench=$2 ;;
    *) sed -n '5,16s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2 || { echo "flush.sh: a flag without a value" >&2; exit 2; }
done
if [ -z "$server" ] || [ -z "$bench" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //tools/bench)
  server=$workspace/bazel-bin/server/server
  bench=$workspace/bazel-bin/tools/bench/bench
fi
scratch=$(mktemp -d "${path:-${TMPDIR:-/tmp}}/alos-flush.XXXXXX")
child=''
finish() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
if [ -z "$shard_flush" ]; then
  cp -L "$server" "$scratch/server" && server=$scratch/server
  cp -L "$bench" "$scratch/bench" && bench=$scratch/bench
  (cd "$workspace" && ./bazelw build -c opt //server --//plugins:durability=//testing/plugins:shard_flush)
  cp -L "$workspace/bazel-bin/server/server" "$scratch/shard_flush_server"
  shard_flush=$scratch/shard_flush_server
fi
. "$workspace/testing/ports.sh"
field() { sed -E "s/.*\"$1\":\"?([^,\"}]*).*/\1/"; }
for ((round = 0; round < rounds; ++round)); do
  for mode in journal shard_flush async; do
    program=$server arguments=()
    case $mode in
      journal) arguments=(--sync-mode sync) ;;
      shard_flush) program=$shard_flush arguments=(--sync-mode shard-flush) ;;
      async) arguments=(--sync-mode async) ;;
    esac
    for connections in 1 16 64; do
      port=$(free_port)
      "$program" --port "localhost:$port" --data-path "$scratch/data" "${arguments[@]}" \
        >"$scratch/log" 2>&1 </dev/null &
      child=$!
      for _ in $(seq 300); do
        listening "$port" && break
        kill -0 "$child" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
        sleep 0.1
      done
      requests=$((requests_of_one * connections))
      [ $mode != async ] || requests=$((requests * 10))
      line=$("$bench" --port "127.0.0.1:$port" --operation insert-one --connections "$connections" --json \
        --documents 1000 --warmup $((requests / 5)) --requests "$requests")
      echo "$connections $mode $(field per_second <<<"$line") $(field p50_us <<<"$line") $(field p99_us <<<"$line")" \
        >>"$scratch/measured"
      kill "$child" && wait "$child" || true
      child=''
      rm -rf "$scratch/data"
    done
  done
done
python3 - "$scratch/measured" <<'EOF'
import collections, statistics, sys
found = collections.defaultdict(list)
for line in open(sys.argv[1]):
    connections, mode, *figures = line.split()
    found[int(connections), mode].append([float(f) for f in figures])
print('%-11s %-12s %12s %10s %10s' % ('connections', 'mode', 'inserts/s', 'p50 us', 'p99 us'))
for (connections, mode), rows in sorted(found.items()):
    print('%-11d %-12s %12.0f %10.0f %10.0f' % (connections, mode, *map(statistics.median, zip(*rows))))
EOF
