#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The operator's program against a real server: backup, restore, export, import, check, repair.
set -euo pipefail
server=$1 alos=$2 import=$3 find=$4
work=$TEST_TMPDIR
source testing/ports.sh
child=0
trap '[ $child = 0 ] || kill -9 $child 2>/dev/null' EXIT

start() { # DATA_PATH FLAGS...
  local path=$1
  shift
  port=$(free_port)
  "$server" --port "localhost:$port" --data-path "$path" "$@" >"$work/log" 2>&1 &
  child=$!
  until listening "$port"; do
    kill -0 $child || { cat "$work/log"; exit 1; }
    sleep 0.05
  done
}
stop() {
  kill $child
  wait $child || { cat "$work/log"; exit 1; }
  child=0
}
expect() { # STATUS COMMAND...
  local expected=$1 status=0
  shift
  "$@" >"$work/out" 2>"$work/err" || status=$?
  [ "$status" = "$expected" ] || {
    echo "$*: status $status, expected $expected"
    cat "$work/out" "$work/err"
    exit 1
  }
}
said() { # WORDS
  grep -q -- "$1" "$work/out" "$work/err" || {
    echo "it did not say: $1"
    cat "$work/out" "$work/err"
    exit 1
  }
}
all() { # prints the documents of a collection in order
  "$find" --port "localhost:$port" "$1" --sort '{"_id":1}'
}

documents() { # FROM TO
  for n in $(seq "$1" "$2"); do
    echo "{\"_id\":$n,\"n\":$((n * 7 % 1000)),\"text\":\"the text of document $n\"}"
  done
}

start "$work/data" --shards 8
documents 1 2000 | "$import" --port "localhost:$port" --collection things -
echo '{"_id":"victim","n":-1,"text":"unmistakable words"}' |
  "$import" --port "localhost:$port" --collection things -
documents 1 50 | "$import" --port "localhost:$port" --collection others -

# Backups: a whole one, one without news, one with some, a stream.
expect 2 "$alos" backup
expect 0 "$alos" backup --port "localhost:$port" --to "$work/backups"
said 'database alosdb as of timestamp'
expect 0 "$alos" backup --port "localhost:$port" --to "$work/backups" --all
said ' 0 of them new'
all things >"$work/things"
all others >"$work/others"
documents 2001 2100 | "$import" --port "localhost:$port" --collection things -
expect 0 "$alos" backup --port "localhost:$port" --to "$work/backups" alosdb
expect 1 "$alos" backup --port "localhost:$port" --to "$work/backups" absent
said 'absent'
"$alos" backup --port "localhost:$port" --to - >"$work/stream" 2>"$work/err"
expect 0 "$alos" backup verify "$work/backups"
said 'verified 3 backup(s)'
all things >"$work/things_later"

# Export, as it is now.
expect 0 "$alos" export --port "localhost:$port" --snapshot --to "$work/all.alosexport"
said '2 collection(s): 2,151 records'
"$alos" export --port "localhost:$port" --to - others >"$work/others.alosexport" 2>"$work/err"
expect 1 "$alos" export --port "localhost:$port" --to "$work/none" absent

# While the server has the directory nobody else gets it.
expect 1 "$alos" check --data-path "$work/data"
said "held by pid $child"
expect 1 "$alos" repair --data-path "$work/data"
expect 1 "$alos" restore --from "$work/backups" --data-path "$work/data"
stop
expect 0 "$alos" check --data-path "$work/data"
said 'no damage'

# Restores: of the second backup, of the newest one, of the stream; never over anything.
expect 0 "$alos" restore --from "$work/backups" --number 2 --data-path "$work/then"
said 'all records verified'
expect 1 "$alos" restore --from "$work/backups" --data-path "$work/then"
said 'restoring never replaces anything'
expect 0 "$alos" restore --from "$work/backups" --data-path "$work/newest" alosdb
"$alos" restore --from - --data-path "$work/streamed" <"$work/stream" >"$work/out" 2>"$work/err"
head -c 5000 "$work/stream" >"$work/cut"
expect 1 bash -c "'$alos' restore --from - --data-path '$work/nowhere' <'$work/cut'"
said 'ends too early'
[ ! -e "$work/nowhere/alosdb" ]
for place in then newest streamed; do
  expect 0 "$alos" check --data-path "$work/$place"
  start "$work/$place"
  [ $place = then ] && expected=things || expected=things_later
  all things | cmp - "$work/$expected"
  all others | cmp - "$work/others"
  stop
done

# An export goes into another number of shards, again and again.
start "$work/imported" --shards 3
expect 0 "$alos" import --port "localhost:$port" "$work/others.alosexport"
expect 0 "$alos" import --port "localhost:$port" "$work/all.alosexport"
expect 0 "$alos" import --port "localhost:$port" "$work/all.alosexport"
said '2 collection(s): 2,151 records'
all things | cmp - "$work/things_later"
all others | cmp - "$work/others"
head -c 60000 "$work/all.alosexport" >"$work/cut"
expect 1 "$alos" import --port "localhost:$port" --db part "$work/cut"
said 'damaged or incomplete'
expect 0 "$alos" import --port "localhost:$port" --db part "$work/all.alosexport" things
expect 1 "$alos" import --port "localhost:$port" "$work/things"
said 'no export of alos'
stop

# Damage: found, put aside, and then all is well.
file=$(grep -l 'unmistakable words' "$work"/then/alosdb/shard_*.db)
offset=$(grep -obUa 'unmistakable words' "$file" | head -1 | cut -d: -f1)
printf '????' | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
expect 3 "$alos" check --data-path "$work/then"
said "damage: $file: offset"
said 'document "victim"'
expect 0 "$alos" repair --data-path "$work/then" --dry-run
expect 3 "$alos" check --data-path "$work/then"
expect 0 "$alos" repair --data-path "$work/then"
said 'document "victim"'
grep -q 'victim' "$work"/then/alosdb/lost+found/*/report.json
expect 0 "$alos" check --data-path "$work/then"
start "$work/then"
all things | cmp - <(grep -v '"_id":"victim"' "$work/things")
"$find" --port "localhost:$port" things '{"_id":"victim"}' --count | grep -qx 0
stop
echo passed
