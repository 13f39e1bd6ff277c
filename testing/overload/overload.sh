#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# A server with ten times the load that it can serve, in both modes: ten times the connections, and ten times the requests
# under way on each, with answers of megabytes that are read slowly. Nobody may be dropped, what was acknowledged must be
# there, and memory must stay within its budget; queues say in the statistics how full they were.
#
# Usage: overload.sh SERVER OVERLOAD        SECONDS_EACH: of each load, 1 unless told; from 5 on figures are compared
#   testing/overload/run.sh [SECONDS]       builds both with -c opt, and prints throughput as a part of its peak
set -uo pipefail

server=$1 overload=$2 seconds=${SECONDS_EACH:-1}
# What the process may take of its own (RssAnon), above what it takes at rest: buffers and cache, and for each connection
# 64 KiB each way, answers of 256 KiB in between, and what a request takes while it is carried out.
buffer_mb=32 cache_mb=32 slack_mb=${SLACK_MB:-192}
scratch=$(mktemp -d "${TEST_TMPDIR:-/tmp}/overload.XXXXXX")
pid= sampler=
trap '[ -z "$sampler" ] || kill $sampler 2>/dev/null; [ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $*" >&2
  [ ! -e "$scratch/log" ] || tail -n 30 "$scratch/log" | sed 's/^/  /' >&2
  exit 1
}
start() { # DIRECTORY FLAG...
  local directory=$1
  shift
  : >"$scratch/log"
  "$server" --port=localhost:0 --data-path="$scratch/$directory" --shards=16 --cache-mb=$cache_mb \
    --connection-memory-mb=$buffer_mb --automatic-indexes=false "$@" 2>"$scratch/log" &
  pid=$!
  until grep -q 'listening on' "$scratch/log"; do
    kill -0 $pid 2>/dev/null || { wait $pid; fail "the server ended with $?"; }
    sleep 0.02
  done
  port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$scratch/log" | head -n 1 | cut -d: -f2)
}
stop() {
  kill -TERM $pid
  wait $pid || fail "it does not stop in order"
  pid=
}
memory_kb() { awk '/^RssAnon/ {print $2}' "/proc/$pid/status"; }
load() { # CONNECTIONS AHEAD [slow]
  # The most that it takes meanwhile.
  (peak=0; while now=$(memory_kb 2>/dev/null) && [ -n "$now" ]; do
    [ "$now" -le "$peak" ] || { peak=$now; echo $peak >"$scratch/peak"; }
    sleep 0.03
  done) &
  sampler=$!
  "$overload" load "$port" "$seconds" "$@" >"$scratch/out" 2>"$scratch/err" ||
    fail "$mode, $*: $(cat "$scratch/out" "$scratch/err")"
  kill $sampler 2>/dev/null
  wait $sampler 2>/dev/null
  sampler=
  peak=$(cat "$scratch/peak")
  echo "$mode: $(cat "$scratch/out") peak_mb=$((peak / 1024))"
  [ $((peak - rest)) -le $(((buffer_mb + cache_mb + slack_mb) * 1024)) ] ||
    fail "$mode, $*: the server took $(((peak - rest) / 1024)) MB more than at rest"
  rate=$(grep -oE 'per_second=[0-9]+' "$scratch/out" | cut -d= -f2)
}
high_water() { grep "^$1 " "$scratch/queues" | grep -oE 'high_water=[0-9]+' | cut -d= -f2; }

for mode in async sync; do
  start "$mode" --sync-mode="$mode"
  "$overload" load "$port" 0.2 4 1 >"$scratch/out" || fail "$mode: $(cat "$scratch/out")"
  rest=$(memory_kb)
  rates=()
  for shape in '16 1' '160 1' '160 10' '160 10 slow'; do
    # shellcheck disable=SC2086
    load $shape
    rates+=("$rate")
  done
  "$overload" queues "$port" >"$scratch/queues" || fail "$mode: no queues in the statistics"
  sed "s/^/  $mode: /" "$scratch/queues"
  [ "$(high_water connections)" -ge 160 ] || fail "$mode: the statistics do not know of 160 connections"
  [ "$(high_water work)" -ge 1 ] || fail "$mode: the statistics do not know of a request that waited for a worker"
  [ "$(high_water buffers)" -ge 1 ] || fail "$mode: the statistics do not know of large answers"
  [ "$(high_water buffers)" -le $(((buffer_mb + 64) << 20)) ] || fail "$mode: $(high_water buffers) bytes were in buffers"
  # Slow readers are slow by themselves; of the others, throughput stays.
  if [ "${seconds%.*}" -ge 5 ]; then
    echo "$mode: ten times the connections: $((100 * rates[1] / rates[0])) % of the throughput of 16;" \
      "and ten requests on each: $((100 * rates[2] / rates[0])) %"
  fi
  stop
done

mode=rate
start rate --max-write-rate=2000
"$overload" rate "$port" "$seconds" 64 >"$scratch/out" 2>"$scratch/err" || fail "rate: $(cat "$scratch/out" "$scratch/err")"
echo "--max-write-rate=2000: $(cat "$scratch/out")"
stop
