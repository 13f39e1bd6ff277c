#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Random queries, answered four ways that must agree: by scan, by indexes, after a restart, and by
# mingo, which is fetched from the npm registry once.
#
# Usage: testing/differential/run.sh [CASES [FLAG ...]]     (10000 when absent; the long form: 1000000)
#   FLAG: of the program, such as --seed=5 to repeat a run; DIFFERENTIAL: the program, if it is built
#
# Prints the seed, how often each operator was run, and what failed, made small. Without node or npm
# the fourth way is left out, and said so.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
cases=${1:-10000}
shift $(($# > 0))

program=${DIFFERENTIAL:-}
if [ -z "$program" ]; then
  # Optimised code is worth a build of the dependencies only where there is much to do.
  mode=()
  [ "$cases" -le 100000 ] || mode=(-c opt)
  (cd "$workspace" && ./bazelw build "${mode[@]}" //testing/differential)
  program=$workspace/bazel-bin/testing/differential/differential
fi
flags=("--cases=$cases" "$@")
node=$(command -v node || command -v nodejs || true)
if [ -z "$node" ]; then
  echo "mingo needs node, skipped"
else
  status=0
  mingo=$("$here/fetch.sh") || status=$?
  if [ "$status" = 0 ]; then
    flags+=("--mingo=$mingo" "--mingo_child=$here/mingo_child.js" "--node=$node")
  elif [ "$status" = 75 ]; then
    echo "mingo cannot be fetched here, skipped"
  else
    exit "$status"
  fi
fi
exec "$program" "${flags[@]}"
