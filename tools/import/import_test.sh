#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# import as a user meets it: files, messages and exit statuses, against a real server.
set -euo pipefail
server=$1 import=$2
source testing/ports.sh
cd "$TEST_TMPDIR"
unset BUILD_WORKING_DIRECTORY

port=$(free_port)
"$OLDPWD/$server" --port "localhost:$port" --data-path "$TEST_TMPDIR/data" >log 2>&1 &
child=$!
trap 'kill -9 $child 2>/dev/null; cat out 2>/dev/null' EXIT
until listening "$port"; do
  kill -0 $child || { cat log; exit 1; }
  sleep 0.05
done
import=$OLDPWD/$import

# try STATUS ARGUMENTS...: runs import, output in `out`.
try() {
  local wanted=$1 status=0
  shift
  "$import" --port "localhost:$port" "$@" >out 2>&1 || status=$?
  if [ "$status" != "$wanted" ]; then
    echo "import $*: exit status $status, expected $wanted"
    exit 1
  fi
}
says() { grep -qF -- "$1" out || { echo "the output does not say: $1"; exit 1; }; }

echo '[{"_id":"a","n":1},{"_id":"b","n":2}]' >pairs.json
try 0 pairs.json
says "pairs.json: 2 records"
says "into pairs"
try 0 pairs.json # again: nothing changes
says "2 records"

# The first bad record stops it, with its place and the reason.
printf '{"_id":1}\n{"_id":2}\n{"_id":}\n{"_id":4}\n' >bad.ndjson
try 1 bad.ndjson
says "2 records"
says "bad.ndjson"
says "line 3"
try 3 --skip-bad --drop bad.ndjson
says "3 records"
says "1 skipped"

# The same when it is the database that refuses it.
printf '{"_id":1}\n{"_id":2}\n{"_id":1,"other":true}\n{"_id":4}\n' >taken.ndjson
try 1 --drop taken.ndjson
says "line 3 of taken.ndjson: its _id belongs to another document"
try 3 --drop --skip-bad taken.ndjson
says "3 records"
try 1 --drop --id-field n pairs.json
says "has an _id of its own"

# Standard input, other forms, ids.
echo '{"key":"k1"}{"key":"k2"}' | try 0 --collection piped --id-field key -
says "2 records"
printf '\x92\x81\xa3key\xa2k1\x81\xa3key\xa2k2' >keys.msgpack
try 0 --collection piped --id-field key keys.msgpack # the same documents
says "2 records"
echo '{"type":"FeatureCollection","features":[{"n":1},{"n":2},{"n":3}]}' >map.json
try 0 --array-field features --number-ids map.json
says "3 records"
: >empty.json
try 0 empty.json
says "0 records"
seq 5000 | sed 's/.*/{"n":&}/' | try 0 --collection many --batch 700 --flush -
says "5,000 records"
try 0 --db other pairs.json
says "2 records"

# Wrong usage.
try 2
says "name a file"
try 2 -
says "--collection"
try 2 --no-such-flag pairs.json
says "no such flag"
try 2 --format yaml pairs.json
try 2 --batch 0 pairs.json
try 2 --number-ids --id-field n pairs.json
try 2 --cipher aegis-128l pairs.json
says "--username"
try 1 absent.json
says "absent.json"
try 1 .
says "directory"
try 0 --help
says "--array-field"

kill -9 $child
wait $child 2>/dev/null || true
try 1 pairs.json
says "localhost:$port"
trap - EXIT
