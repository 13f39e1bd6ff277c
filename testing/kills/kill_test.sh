#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Kills a server with -9 under load, again and again, in both modes, and compares what the next one has with a
# book kept outside; now and then it is stopped and continued first. Then descriptors and memory run out.
#
# Usage: kill_test.sh SERVER TORTURE        KILLS: kills in each mode, 8 unless told
#   ./bazelw test //testing/kills:kill_test --test_env=KILLS=200 --test_timeout=3600
set -uo pipefail

server=$1 torture=$2 kills=${KILLS:-8}
scratch=$(mktemp -d "${TEST_TMPDIR:-/tmp}/kills.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null; rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $*" >&2
  [ ! -e "$scratch/log" ] || tail -n 30 "$scratch/log" | sed 's/^/  /' >&2
  exit 1
}
# Starts a server on a free port (of its own choice) and waits until it serves.
start() { # DIRECTORY FLAG...
  local directory=$1
  shift
  : >"$scratch/log"
  "${limits[@]}" "$server" --port=localhost:0 --data-path="$scratch/$directory" --shards=16 "$@" 2>"$scratch/log" &
  pid=$!
  until grep -q 'listening on' "$scratch/log"; do
    kill -0 $pid 2>/dev/null || { wait $pid; fail "the server ended with $?"; }
    sleep 0.02
  done
  port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$scratch/log" | head -n 1 | cut -d: -f2)
}
limits=()

for mode in async sync; do
  book=$scratch/book.$mode
  : >"$book"
  for kill in $(seq "$kills"); do
    start "$mode" --sync-mode="$mode"
    "$torture" check "$port" "$book" >"$scratch/checked" 2>&1 ||
      fail "$mode, after kill $((kill - 1)): $(cat "$scratch/checked")"
    "$torture" load "$port" "$book" 60 8 >"$scratch/loaded" 2>&1 &
    load=$!
    sleep "0.$((RANDOM % 9))$((1 + RANDOM % 9))"
    if [ $((RANDOM % 4)) = 0 ]; then
      kill -STOP $pid
      sleep 0.1
      kill -CONT $pid
      sleep 0.1
    fi
    kill -KILL $pid
    wait $pid 2>/dev/null
    pid=
    wait $load
  done
  start "$mode" --sync-mode="$mode"
  "$torture" check "$port" "$book" || fail "$mode, after the last kill"
  kill -TERM $pid
  wait $pid || fail "it does not stop in order"
  pid=
  echo "$mode: $kills kills under load, nothing that was acknowledged is missing"
done

# With descriptors for a few shards only, requests fail, whole, and the server stays.
limits=(prlimit --nofile=40:4096)
# The server takes what it may have; the limit is put on it from outside.
start few --sync-mode=sync --shards=256
limits=()
prlimit --pid $pid --nofile=40:4096
"$torture" requests "$port" >"$scratch/requests" 2>&1 || fail "out of descriptors: $(cat "$scratch/requests")"
echo "40 descriptors: $(tail -n 1 "$scratch/requests")"
grep -q ' 0 refused' "$scratch/requests" && fail "nothing was refused with 40 descriptors"
grep -qi 'too many open files' "$scratch/requests" || fail "refused without the reason: $(cat "$scratch/requests")"
prlimit --pid $pid --nofile=4096:4096
"$torture" requests "$port" >"$scratch/requests" 2>&1 || fail "with descriptors again: $(cat "$scratch/requests")"
grep -q ' 0 refused, 0 lost' "$scratch/requests" || fail "with descriptors again: $(cat "$scratch/requests")"
kill -TERM $pid
wait $pid || fail "it does not stop in order"
pid=
echo "with descriptors again: $(tail -n 1 "$scratch/requests")"

# With little more address space than it has, requests fail. The server stays, unless it is a small thing that there is no
# memory for, such as a line of its log: then it ends, and the next one has everything.
start memory --sync-mode=sync --cache-mb=1
"$torture" load "$port" "$scratch/book.memory" 0.5 4 >/dev/null
bytes=$(($(cut -d' ' -f1 /proc/$pid/statm) * 4096))
prlimit --pid $pid --as=$((bytes + 120 * 1024 * 1024)):unlimited
"$torture" memory "$port" 4 >"$scratch/remembered" 2>&1 || fail "out of memory: $(cat "$scratch/remembered")"
grep -q ' 0 failed' "$scratch/remembered" && fail "nothing failed with little memory"
ended=
if kill -0 $pid 2>/dev/null && prlimit --pid $pid --as=unlimited:unlimited; then
  "$torture" check "$port" "$scratch/book.memory" >"$scratch/checked" 2>&1 || fail "out of memory: $(cat "$scratch/checked")"
  kill -TERM $pid
else
  ended=', the server ended'
fi
wait $pid
pid=
start memory --sync-mode=sync
"$torture" check "$port" "$scratch/book.memory" >"$scratch/checked" 2>&1 || fail "after too little memory: $(cat "$scratch/checked")"
"$torture" requests "$port" >"$scratch/requests" 2>&1 || fail "after too little memory: $(cat "$scratch/requests")"
grep -q ' 0 refused, 0 lost' "$scratch/requests" || fail "after too little memory: $(cat "$scratch/requests")"
kill -TERM $pid
wait $pid || fail "it does not stop in order"
pid=
echo "little memory: $(cat "$scratch/remembered")$ended; afterwards $(tail -n 1 "$scratch/requests")"
