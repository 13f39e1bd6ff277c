#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# round_trip.sh on generated data, so that it needs neither network nor npm; and that
# the comparison notices what it is there to notice.
set -euo pipefail
round_trip=$1 server=$2 import=$3 compare=$4

awk 'BEGIN {
  for (i = 0; i < 5000; i++) {
    printf "{\"number\":%d,\"third\":%.15g,\"big\":{\"$numberLong\":\"%d%015d\"},\"odd\":%s,", i, i / 3, 5 + i % 4, i * 7919, i % 2 ? "true" : "false"
    printf "\"name\":\"n\\u00e9 \\ud83d\\ude42 %d\",\"at\":{\"$date\":\"2026-%02d-%02dT03:04:05.%03dZ\"},", i, 1 + i % 12, 1 + i % 28, i % 1000
    printf "\"bytes\":{\"$binary\":{\"base64\":\"AAEC/w==\",\"subType\":\"00\"}},\"list\":[%d,null,{\"deep\":[[%d]]}],\"none\":null}\n", i, i
  }
}' >"$TEST_TMPDIR/lines.ndjson"
awk 'BEGIN {
  printf "[\n"
  for (i = 0; i < 2000; i++) printf "%s {\"_id\":\"key-%d\",\n  \"text\":\"%s\"}", i ? ",\n" : "", i, substr("abcdefghijklmnopqrstuvwxyz", 1 + i % 26)
  printf "\n]\n"
}' >"$TEST_TMPDIR/array.json"

"$round_trip" "$server" "$import" "$compare" \
  "lines $TEST_TMPDIR/lines.ndjson --number-ids" "array $TEST_TMPDIR/array.json" | tee "$TEST_TMPDIR/out"
[ "$(grep -c 'lines.ndjson: 5000 equal, 0 different, 0 missing, 0 unexpected' "$TEST_TMPDIR/out")" = 4 ]
[ "$(grep -c 'array.json: 2000 equal, 0 different, 0 missing, 0 unexpected' "$TEST_TMPDIR/out")" = 4 ]

# A collection that differs from its file must not pass.
source "$(dirname "$round_trip")/../ports.sh"
port=$(free_port)
"$server" --port "localhost:$port" --data-path "$TEST_TMPDIR/data" >"$TEST_TMPDIR/log" 2>&1 &
child=$!
trap 'kill -9 $child 2>/dev/null' EXIT
until listening "$port"; do
  kill -0 $child || { cat "$TEST_TMPDIR/log"; exit 1; }
  sleep 0.05
done
at() { "$@" --port "localhost:$port" --collection things "$TEST_TMPDIR/file"; }
different() { # EXPECTED
  local status=0
  at "$compare" >"$TEST_TMPDIR/out" 2>&1 || status=$?
  cat "$TEST_TMPDIR/out"
  [ $status = 1 ] && grep -q "$1" "$TEST_TMPDIR/out"
}
echo '{"_id":1,"a":1}{"_id":2,"a":2}' >"$TEST_TMPDIR/file"
at "$import"
at "$compare"
echo '{"_id":1,"a":1}{"_id":2,"a":2.0}' >"$TEST_TMPDIR/file" # equal in value, not in bytes
different '1 equal, 1 different, 0 missing, 0 unexpected'
echo '{"_id":1,"a":1}' >"$TEST_TMPDIR/file"
different '1 equal, 0 different, 0 missing, 1 unexpected'
echo '{"_id":1,"a":1}{"_id":2,"a":2}{"_id":3}' >"$TEST_TMPDIR/file"
different '2 equal, 0 different, 1 missing, 0 unexpected'
