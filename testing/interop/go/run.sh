#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the Go clients against a real server: our own one (wire/, scenario/) and,
# where Go's module proxy serves it, the published one (published/).
#
# Usage: testing/interop/go/run.sh [SERVER [go test flags...]]
#   SERVER: path of the server; built with ./bazelw build //server when absent.
# Ends with a summary and a status other than 0 if a test failed.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../../.." && pwd)
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "run.sh: Go 1.26 or newer is needed (go is not in PATH)" >&2; exit 2; }

server=${1:-}
[ $# -gt 0 ] && shift
if [ -z "$server" ]; then
  (cd "$workspace" && ./bazelw build //server) || exit 2
  server=$workspace/bazel-bin/server/server
fi
[ -x "$server" ] || { echo "run.sh: $server is not an executable file" >&2; exit 2; }
SERVER_UNDER_TEST=$(realpath "$server")
export SERVER_UNDER_TEST

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failed=0
summary=()

# run NAME DIRECTORY ARGUMENTS...: go test there, counted in the summary.
run() {
  local name=$1 directory=$2 log=$scratch/log
  shift 2
  echo "== $name"
  if (cd "$directory" && go test -count=1 -timeout=30m -v "$@") >"$log" 2>&1; then
    result=passed
  else
    result=FAILED
    failed=1
    # What failed with what it said; the rest is in the log's PASS lines.
    grep -vE '^ *(=== |--- PASS|--- SKIP)' "$log"
  fi
  summary+=("$name: $result, $(grep -c -- '--- PASS' "$log") passed, $(grep -c -- '--- FAIL' "$log") failed, $(grep -c -- '--- SKIP' "$log") skipped")
}

run "own client, ciphers and handshake" "$here" "$@" ./wire
run "own client against the server" "$here" "$@" ./scenario

# The published client comes from the module proxy or not at all: a refusal there
# is an answer, so its repository is not tried behind the proxy's back.
proxy=$(go env GOPROXY)
proxy=${proxy%,direct}
proxy=${proxy%|direct}
for pin in e3a9d9f:current 9ad4903:; do
  commit=${pin%%:*}
  tags=${pin#*:}
  module=$scratch/$commit
  cp -r "$here/published" "$module"
  if (cd "$module" && go mod edit -replace=alos.test/interop="$here" &&
      GOPROXY=$proxy go get "github.com/guno1928/alosdbclient@$commit" && go mod tidy) >"$scratch/get" 2>&1; then
    run "published client at $commit" "$module" "$@" ${tags:+-tags "$tags"} ./...
  else
    line="published client at $commit: not fetchable from this machine's Go proxy, skipped"
    echo "== $line"
    grep -m1 -E '[0-9]{3} |no required|not found|unknown|dial' "$scratch/get" | sed 's/^/   /'
    summary+=("$line")
  fi
done

echo
echo "== summary"
printf '%s\n' "${summary[@]}"
exit $failed
