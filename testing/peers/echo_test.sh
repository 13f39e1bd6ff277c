#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The load generator against the bare echo server: every answer checked, and a wrong one noticed.
set -euo pipefail
echo_server=$1
bench=$2

coproc server { exec "$echo_server" 0 340; }
read -r port <&"${server[0]}"

run() { "$bench" --port "127.0.0.1:$port" --operation echo --warmup 50 "$@"; }

run --requests 2000 --connections 20 --threads 2 --pipeline 4 --response_bytes 340 --json | tee "$TEST_TMPDIR/out"
grep -q '"requests":2000,' "$TEST_TMPDIR/out"
grep -q '"response_bytes":340}' "$TEST_TMPDIR/out"
run --requests 300 --request_bytes 50000 --connections 3 | grep -q '300 requests in'

# Responses of another size than expected are an error, not a result.
if run --requests 10 --response_bytes 339 >"$TEST_TMPDIR/out" 2>&1; then
  echo "a wrong answer was taken" >&2
  exit 1
fi
grep -q 'an echo of 336 bytes, expected 335' "$TEST_TMPDIR/out"

# So are flags that make no sense.
for flags in "--operation other" "--connections 0" "--port nowhere" "--cipher rot13" "--document_bytes 1 --operation insert-one" "extra"; do
  status=0
  # shellcheck disable=SC2086
  "$bench" --port "127.0.0.1:$port" $flags >"$TEST_TMPDIR/out" 2>&1 || status=$?
  if [ "$status" != 2 ]; then
    echo "$flags: exit status $status" >&2
    cat "$TEST_TMPDIR/out" >&2
    exit 1
  fi
done
kill "$server_PID"
