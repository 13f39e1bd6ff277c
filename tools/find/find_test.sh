#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# find as a user meets it, against a real server.
set -euo pipefail
server=$1 import=$2 find=$3

source testing/ports.sh
port=$(free_port)
"$server" --port "localhost:$port" --data-path "$TEST_TMPDIR/data" >"$TEST_TMPDIR/log" 2>&1 &
child=$!
trap 'kill -9 $child 2>/dev/null' EXIT
until listening "$port"; do
  kill -0 $child || { cat "$TEST_TMPDIR/log"; exit 1; }
  sleep 0.05
done
for n in $(seq 0 19); do
  echo "{\"_id\":$n,\"n\":$((n * 7 % 20)),\"text\":\"t$n\"}"
done | "$import" --port "localhost:$port" --collection things -

is() { # EXPECTED ARGUMENTS...
  local expected=$1 got
  shift
  got=$("$find" --port "localhost:$port" "$@")
  if [ "$got" != "$expected" ]; then
    printf 'find %s:\n%s\nexpected:\n%s\n' "$*" "$got" "$expected"
    exit 1
  fi
}
refused() { # STATUS ARGUMENTS...
  local expected=$1 status=0
  shift
  "$find" --port "localhost:$port" "$@" >/dev/null 2>"$TEST_TMPDIR/err" || status=$?
  [ "$status" = "$expected" ] && [ -s "$TEST_TMPDIR/err" ] || { echo "find $*: status $status"; exit 1; }
}

is '{"_id":3,"n":1,"text":"t3"}' things '{"n":1}'
is $'{"_id":17,"n":19}\n{"_id":14,"n":18}' things --sort '{"n":-1}' --limit 2 --fields n
is '{"_id":14,"text":"t14"}' things --sort '{"n":-1}' --skip 1 --limit 1 --fields text
is 5 things '{"n":{"$lt":5}}' --count
is '' things '{"n":-1}'
is '' no_such_collection
[ "$("$find" --port "localhost:$port" things | wc -l)" = 20 ]
[ "$("$find" --port "localhost:$port" things --skip 15 | wc -l)" = 5 ]
[ "$("$find" --port "localhost:$port" things --limit 7 | wc -l)" = 7 ]
is $'{"_id":17,"n":19}\n{"_id":14,"n":18}' things '{"n":{"$gte":18}}' --sort '{"n":-1}' --fields n
is '{"_id":0,"n":0}' things --sort '{"n":1}' --limit 1 --fields n --hint '$natural'
is '{"c":5}' things --aggregate '[{"$match":{"n":{"$lt":5}}},{"$count":"c"}]'
is 3 things --aggregate '[{"$match":{"n":{"$lt":3}}}]' --count
for question in "--explain" "--count --explain" "--sort {\"n\":1} --explain" \
  "--aggregate [{\"\$match\":{\"n\":1}}] --explain"; do
  # shellcheck disable=SC2086
  "$find" --port "localhost:$port" things $question | grep -q '^{"plan":"' || { echo "$question"; exit 1; }
done
refused 1 things --hint absent
refused 2 things '{}' --aggregate '[]'
refused 2 things --aggregate '{}'
refused 1 things '{"n":{"$almost":1}}'
grep -q '\$almost' "$TEST_TMPDIR/err"
refused 2 things '{"n":'
refused 2 things '[1]'
refused 2
refused 2 things '{}' more
