#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Do the tests test something? Puts the bugs of bugs.py into a copy of the tree and runs of each the test that is to
# notice it. Without a bug the same tests must pass. About half an hour, most of it compiling.
#
# Usage: testing/seeded_bugs/run.sh [NAME...]      default: all
#   ALOS_CRASH_STATES: crash states per run of the crash test, 20,000 unless set
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
tree=${ALOS_SEEDED_TREE:-$(mktemp -d /tmp/alos-seeded.XXXXXX)}
[ -n "${ALOS_SEEDED_TREE:-}" ] || trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"
git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$tree" 2>/dev/null || true
python3 testing/seeded_bugs/apply.py "$tree" >"$tree/seeded"
read -r -a options <<<"${ALOS_BAZEL_STARTUP:---output_base=$HOME/.cache/alos-seeded}"
mapfile -t targets < <(cut -d' ' -f2 "$tree/seeded" | sort -u)
(cd "$tree" && ./bazelw "${options[@]}" build --jobs="${ALOS_JOBS:-2}" "${targets[@]}" >"$tree/build.log" 2>&1) ||
  { tail -n 30 "$tree/build.log"; exit 1; }

export ALOS_CRASH_STATES=${ALOS_CRASH_STATES:-20000}
program() { echo "$tree/bazel-bin/${1#//}" | tr ':' '/'; }
export TEST_TMPDIR=$tree/tmp
mkdir -p "$TEST_TMPDIR"
caught=0 missed=0
# Without a bug.
while read -r target tests; do
  "$(program "$target")" --gtest_filter="$tests" >"$tree/output" 2>&1 ||
    { tail -n 30 "$tree/output"; echo "$target $tests fails without a bug"; exit 1; }
done < <(cut -d' ' -f2,3 "$tree/seeded" | sort -u)
while read -r name target tests; do
  [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
  if ALOS_SEEDED_BUG=$name timeout 600 "$(program "$target")" --gtest_filter="$tests" >"$tree/output" 2>&1; then
    missed=$((missed + 1))
    echo "MISSED  $name"
  else
    caught=$((caught + 1))
    echo "caught  $name by $target $tests"
  fi
done <"$tree/seeded"
echo "$caught seeded bugs caught, $missed missed"
[ $missed = 0 ]
