#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The server as an operator meets it: what it says, its exit codes, its signals.
# Usage: server_test.sh SERVER

set -uo pipefail
server=$1
data=$TEST_TMPDIR/data
log=$TEST_TMPDIR/log
pid=
trap '[ -z "$pid" ] || kill -KILL $pid' EXIT

fail() {
  echo "FAILED: $*" >&2
  [ ! -e "$log" ] || sed 's/^/  /' "$log" >&2
  exit 1
}
expect() { # TEXT FILE
  grep -qF -- "$1" "$2" || fail "expected \"$1\""
}
# Starts a server on a free port and waits until it serves.
start() {
  : >"$log" # what an earlier server said must not be taken for this one's
  "$server" --port=localhost:0 --data-path="$data" "$@" 2>"$log" &
  pid=$!
  until grep -q 'listening on' "$log"; do
    kill -0 $pid 2>/dev/null || { wait $pid; fail "the server ended with $?"; }
    sleep 0.05
  done
}
# Waits for it to end; its exit code is to be $1.
ends_with() {
  wait $pid
  local code=$?
  pid=
  [ $code = "$1" ] || fail "exit code $code, expected $1"
}
# Runs a server that is not to start.
refuses() { # EXIT_CODE TEXT ARGUMENT...
  local code=$1 text=$2
  shift 2
  local said=$TEST_TMPDIR/refused
  "$server" "$@" >/dev/null 2>"$said"
  local got=$?
  cat "$said"
  [ $got = "$code" ] || fail "exit code $got, expected $code, of: $*"
  expect "$text" "$said"
}

"$server" --help >"$TEST_TMPDIR/help" || fail "--help ended with $?"
expect '--sync-mode=MODE  (async)' "$TEST_TMPDIR/help"
"$server" --version | grep -qE '^alos [0-9]+\.[0-9]+\.[0-9]+$' || fail "--version"

refuses 2 'did you mean --cache-mb?' --cahce-mb=1
refuses 2 'set --username and --password-file' --port=0.0.0.0:0
ALOS_CACHE_MB=x refuses 2 'ALOS_CACHE_MB' --port=localhost:0
echo 'frobnicate = 1' >"$TEST_TMPDIR/alos.conf"
refuses 2 'alos.conf:1' --config="$TEST_TMPDIR/alos.conf"
touch "$TEST_TMPDIR/file"
refuses 1 "$TEST_TMPDIR/file" --port=localhost:0 --data-path="$TEST_TMPDIR/file/below"

for mode in async sync; do
  start --sync-mode="$mode" --username=ada --password 'correct horse' --load-dbs=none
  expect "sync mode $mode" "$log"
  expect "no database none yet" "$log"
  tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'correct' && fail "the password is in /proc"
  # Of one data folder there is one server; the other one says which.
  refuses 1 "pid $pid" --port=localhost:0 --data-path="$data"
  address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | head -n 1)
  refuses 1 "$address" --port="$address" --data-path="$data.other"
  kill -TERM $pid
  ends_with 0
  expect 'stopped in order' "$log"
done

start
kill -INT $pid
ends_with 0
expect 'SIGINT' "$log"

# The lock of a server that was killed is no obstacle.
start
kill -KILL $pid
wait $pid 2>/dev/null
start
kill -TERM $pid
ends_with 0
[ "$(stat -c %a "$data")" = 700 ] || fail "others can look into the data folder"
echo "all as expected"
