#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# How fast data gets out and in: backup beside a plain copy, restore and import beside a bulk load, export.
#
# Usage: testing/peers/copies.sh [--documents N] [--path FOLDER] [--server PATH --alos PATH --import PATH]
#
# Builds what it is not given with -c opt. FOLDER is on the disk to be measured, a temporary one unless given; it takes
# about five times the data, and is removed. Each step ends with what it wrote on the disk (sync); what is read is in the page
# cache. Once each: run it again for the spread.
set -euo pipefail
workspace=$(cd "$(dirname "$0")/../.." && pwd)
documents=2000000 path='' server='' alos='' import=''
while [ $# -gt 0 ]; do
  case $1 in
    --documents) documents=$2 ;;
    --path) path=$2 ;;
    --server) server=$2 ;;
    --alos) alos=$2 ;;
    --import) import=$2 ;;
    *) sed -n '5,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2 || { echo "copies.sh: a flag without a value" >&2; exit 2; }
done
if [ -z "$server" ] || [ -z "$alos" ] || [ -z "$import" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //tools/alos //tools/import)
  server=$workspace/bazel-bin/server/server
  alos=$workspace/bazel-bin/tools/alos/alos
  import=$workspace/bazel-bin/tools/import/import
fi
scratch=$(mktemp -d "${path:-${TMPDIR:-/tmp}}/alos-copies.XXXXXX")
child=''
stop() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  wait 2>/dev/null || true
  child=''
}
trap 'stop; rm -rf "$scratch"' EXIT
. "$workspace/testing/ports.sh"
start() { # DATA_PATH
  port=$(free_port)
  "$server" --port "localhost:$port" --data-path "$1" >"$scratch/log" 2>&1 </dev/null &
  child=$!
  until listening "$port"; do
    kill -0 "$child" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
    sleep 0.1
  done
}
# step NAME FILE_OR_FOLDER COMMAND...: how long it takes, by how much the second grew
step() {
  local name=$1 what=$2 before after begin end
  shift 2
  before=$(if [ -e "$what" ]; then du -sB1 "$what" | cut -f1; fi)
  begin=$(date +%s.%N)
  "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; exit 1; }
  sync
  end=$(date +%s.%N)
  after=$(du -sB1 "$what" | cut -f1)
  awk -v name="$name" -v s="$(echo "$end $begin" | awk '{print $1 - $2}')" -v b=$((after - ${before:-0})) -v n="$documents" \
    'BEGIN { printf "%-34s %8.2f s %10.1f MB %10.1f MB/s %10.0f documents/s\n", name, s, b / 1e6, b / 1e6 / s, n / s }'
}
python3 - "$documents" >"$scratch/documents.ndjson" <<'EOF'
import random, sys
random.seed(1)
words = ['alpha', 'bravo', 'charlie', 'delta', 'echo', 'foxtrot', 'golf', 'hotel', 'india', 'juliett']
for i in range(int(sys.argv[1])):
    print('{"_id":"d%08d","n":%d,"at":%d,"score":%.3f,"text":"%s"}' % (
        i, random.randrange(1000), 1700000000 + i, random.random(), ' '.join(random.choices(words, k=25))))
EOF
start "$scratch/data"
step 'bulk load (tools/import)' "$scratch/data" \
  "$import" --port "localhost:$port" --collection things "$scratch/documents.ndjson"
step 'backup, whole' "$scratch/backups" "$alos" backup --port "localhost:$port" --to "$scratch/backups" --all
step 'backup again, nothing new' "$scratch/backups" \
  "$alos" backup --port "localhost:$port" --to "$scratch/backups" --all
step 'backup verify' "$scratch/backups" "$alos" backup verify "$scratch/backups"
step 'export' "$scratch/all.alosexport" "$alos" export --port "localhost:$port" --to "$scratch/all.alosexport"
stop
step 'plain copy (cp -r)' "$scratch/copy" cp -r "$scratch/data" "$scratch/copy"
rm -rf "$scratch/copy"
step 'restore' "$scratch/restored" "$alos" restore --from "$scratch/backups" --data-path "$scratch/restored"
rm -rf "$scratch/restored"
start "$scratch/imported"
step 'import of the export' "$scratch/imported" "$alos" import --port "localhost:$port" "$scratch/all.alosexport"
