#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Do the tests test something? Puts the bugs of bugs.py into a copy of the tree, each behind a switch, builds the tests
# that are to notice them, once, and runs of each bug its test with the bug switched on. Without a bug the same tests must
# pass. Some ten minutes of compiling on two cores, and a quarter of an hour of running.
#
# Usage: testing/seeded_bugs/run.sh [--fresh] [OPTION OF BAZEL...] [NAME...]      default: all bugs, the default compiler
#   --fresh            do not go on with what an interrupted run of the same tree has found
#   --config=clang16   for instance: passed to bazel build
#   ALOS_CRASH_STATES  crash states per run of the crash test, 20,000 unless set
#   ALOS_SEEDED_DIR    where the copy and the results are kept, ~/.cache/alos-seeded unless set
#
# Status 0: every bug was caught. Not 0: one was missed, its place in the code has changed, or a test fails without one.
set -euo pipefail
cd "$(dirname "$0")/../.."
state=${ALOS_SEEDED_DIR:-$HOME/.cache/alos-seeded}
tree=$state/tree
options=() names=() fresh=
for argument; do
  case $argument in
    --fresh) fresh=1 ;;
    --*) options+=("$argument") ;;
    *) names+=("$argument") ;;
  esac
done
mkdir -p "$state"
exec 9>"$state/lock"
flock -n 9 || { echo "another run is using $state" >&2; exit 1; }

# The copy, with the bugs in it.
rm -rf "$tree"
mkdir -p "$tree" "$state/tmp"
git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
  [ ! -e "$file" ] || printf '%s\0' "$file"
done | xargs -0 cp --parents -P -t "$tree"
fingerprint=$({ git ls-files -s; git diff; echo "${options[*]-} ${ALOS_CRASH_STATES-}"; } | sha256sum)
if [ -n "$fresh" ] || [ "$(cat "$state/fingerprint" 2>/dev/null)" != "$fingerprint" ]; then
  rm -f "$state/results"
  echo "$fingerprint" >"$state/fingerprint"
fi
touch "$state/results"
python3 testing/seeded_bugs/apply.py "$tree" >"$state/bugs"
if [ ${#names[@]} != 0 ]; then
  for name in "${names[@]}"; do
    grep "^$name " "$state/bugs" || { echo "there is no seeded bug $name" >&2; exit 1; }
  done >"$state/wanted"
else
  cp "$state/bugs" "$state/wanted"
fi

mapfile -t targets < <(cut -d' ' -f2 "$state/wanted" | sort -u)
read -r -a startup <<<"${ALOS_BAZEL_STARTUP:---output_base=$state/bazel}"
bazel() { (cd "$tree" && ./bazelw "${startup[@]}" "$@" 9>&-); }
bazel build --symlink_prefix="$state/out-" --jobs="${ALOS_JOBS:-2}" --noshow_progress \
  ${options[@]+"${options[@]}"} "${targets[@]}" >"$state/build.log" 2>&1 ||
  { tail -n 40 "$state/build.log"; exit 1; }

export ALOS_CRASH_STATES=${ALOS_CRASH_STATES:-20000}
export TEST_TMPDIR=$state/tmp
# run BUG TARGET FILTER: its status
run() {
  ALOS_SEEDED_BUG=$1 timeout 900 "$state/out-bin/$(tr ':' '/' <<<"${2#//}")" --gtest_filter="$3" >"$state/output" 2>&1
}
note() {
  grep -v "^$1 " "$state/results" >"$state/results.new" || true
  echo "$1 $2" >>"$state/results.new"
  mv "$state/results.new" "$state/results"
}
while read -r target tests; do
  grep -q "^$target/$tests passes" "$state/results" && continue
  run '' "$target" "$tests" || { tail -n 40 "$state/output"; echo "$target $tests fails without a bug"; exit 1; }
  note "$target/$tests" passes
done < <(cut -d' ' -f2,3 "$state/wanted" | sort -u)

while read -r name target tests; do
  if ! grep -q "^$name " "$state/results"; then
    begin=$SECONDS
    if run "$name" "$target" "$tests"; then
      note "$name" "MISSED by $target $tests"
    else
      status=$?
      how=
      [ $status != 124 ] || how=', which did not end'
      [ $status -le 128 ] || how=', which crashed'
      cp "$state/output" "$state/output.$name"
      note "$name" "caught by $target $tests$how ($((SECONDS - begin)) s)"
    fi
  fi
  grep "^$name " "$state/results"
done <"$state/wanted"

count() { grep -c "$1" <(while read -r name _; do grep "^$name " "$state/results"; done <"$state/wanted") || true; }
missed=$(count ' MISSED ')
echo "$(count ' caught ') caught, $missed missed"
[ "$missed" = 0 ]
