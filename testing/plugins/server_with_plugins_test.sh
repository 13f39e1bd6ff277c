#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The server of the plugins of this folder: takes a document by the protocol of this folder, is killed, and
# has it again; says by its log and its answers that it is built with them.
# Usage: server_with_plugins_test.sh SERVER

set -uo pipefail
server=$1
data=$TEST_TMPDIR/data
log=$TEST_TMPDIR/log
pid=
trap '[ -z "$pid" ] || kill -KILL $pid' EXIT

fail() {
  echo "FAILED: $*" >&2
  sed 's/^/  /' "$log" >&2
  exit 1
}
start() {
  : >"$log" # what an earlier server said must not be taken for this one's
  "$server" --port=127.0.0.1:0 --data-path="$data" --shards=4 --sync-mode=shard-flush 2>"$log" &
  pid=$!
  until grep -q 'listening on' "$log"; do
    kill -0 $pid 2>/dev/null || fail "the server ended"
    sleep 0.05
  done
  port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | head -n 1)
  exec 3<>"/dev/tcp/127.0.0.1/${port#*:}" || fail "no connection"
}
# Says $1 and expects $2.
says() {
  echo "$1" >&3
  read -r -t 20 answer <&3 || fail "no answer to: $1"
  [ "$answer" = "$2" ] || fail "\"$answer\" instead of \"$2\", to: $1"
}

start
grep -q 'sync mode shard-flush' "$log" || fail "another durability policy"
says 'get first' 'none'
long=$(printf 'z%.0s' {1..600})
says "put first $long" 'ok'
says 'put second grün' 'ok'
says "get first" "text $long"
echo 'put first again' >&3
read -r -t 20 answer <&3
[[ $answer == error* ]] || fail "a second document of one id: $answer"
says 'nonsense' 'error say: put KEY TEXT, or: get KEY'

# Its codec was at the document: nowhere is it as it was.
grep -rq 'zzzzzzzzzzzz' "$data" && fail "stored as it is: another codec"

kill -KILL $pid
wait $pid 2>/dev/null
pid=
exec 3>&-
start
says "get first" "text $long"
says "get first" "text $long"
says 'get second' 'text grün'
kill -TERM $pid
wait $pid || fail "exit code $?"
pid=
echo "all as expected"
