#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the fuzz targets under ASan and UBSan, each for a while, and prints a table of what was run. What they find is
# kept. README.md says which target is for what.
#
# Usage: testing/fuzz/run.sh [--jobs N] [--no-build] SECONDS_EACH [TARGET...]
#   TARGET             such as frame_fuzz, or //alos/net:frame_fuzz; all of them unless given
#   --jobs N           so many at once; 1 unless given
#   --no-build         those that are built already, as they are
#   ALOS_FUZZ_DIR      where it builds, and keeps corpora (corpus/TARGET, which grow from run to run), logs and findings,
#                      ~/.cache/alos-fuzz unless set
#
# Status 0: nothing was found. A finding is a file findings/TARGET-crash-… (or -leak-, -timeout-, -oom-): repeat it with
# the program, which the last lines name, and once it is mended put it into the target's corpus in the tree.
set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=1 build=1 arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --jobs) jobs=$2; shift ;;
    --no-build) build= ;;
    -*) sed -n '5,18s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
[[ ${arguments[0]-} =~ ^[0-9]+$ ]] || { sed -n '5,18s/^# \{0,1\}//p' "$0"; exit 2; }
seconds=${arguments[0]} wanted=("${arguments[@]:1}")
state=${ALOS_FUZZ_DIR:-$HOME/.cache/alos-fuzz}
mkdir -p "$state"/{corpus,findings,logs}
read -r -a startup <<<"${ALOS_BAZEL_STARTUP:---output_base=$state/bazel}"

sources="//alos/... + //plugins/... + //server/... + //tools/..."
mapfile -t all < <(./bazelw "${startup[@]}" query --noshow_progress "attr(tags, fuzz, kind(cc_binary, $sources))" \
  2>"$state/query.log" | sed -n 's/_fuzzer$//p' | sort)
[ ${#all[@]} != 0 ] || { cat "$state/query.log"; exit 1; }
targets=()
if [ ${#wanted[@]} = 0 ]; then
  targets=("${all[@]}")
else
  for name in "${wanted[@]}"; do
    found=
    for target in "${all[@]}"; do
      if [ "$target" = "$name" ] || [ "${target#*:}" = "$name" ]; then targets+=("$target") found=1; fi
    done
    [ -n "$found" ] || { echo "there is no fuzz target $name; there are: ${all[*]}" >&2; exit 2; }
  done
fi
if [ -n "$build" ]; then
  ./bazelw "${startup[@]}" build --config=fuzz --symlink_prefix="$state/out-" --jobs="${ALOS_JOBS:-2}" \
    --noshow_progress "${targets[@]/%/_fuzzer}" >"$state/build.log" 2>&1 || { tail -n 40 "$state/build.log"; exit 1; }
fi

program() { echo "$state/out-bin/$(tr ':' '/' <<<"${1#//}")_fuzzer"; }
# Where the tree keeps a target's inputs.
seeds() {
  local package=${1#//} name=${1#*:}
  package=${package%%:*}
  for folder in "$package/testdata/${name%_fuzz}_corpus" "$package/${name}_corpus"; do
    [ ! -d "$folder" ] || { echo "$folder"; return; }
  done
  echo "$1 has no corpus" >&2
  return 1
}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TEST_TMPDIR=$state/tmp
fuzz() {
  set +e
  local target=$1 name=${1#*:} folder
  folder=$(seeds "$target")
  mkdir -p "$state/corpus/$name" "$state/tmp"
  # Nothing a target writes (log lines, say) is to fill the disk: only libFuzzer's own lines are kept.
  "$(program "$target")" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=3072 -print_final_stats=1 \
    -artifact_prefix="$state/findings/$name-" "$state/corpus/$name" "$folder" 2>&1 >/dev/null |
    tail -n 3000 >"$state/logs/$name.log"
  return "${PIPESTATUS[0]}"
}
begin=$(mktemp "$state/begin.XXXXXX")
trap 'rm -f "$begin"' EXIT
declare -A running=()
status=0
reap() { # waits for one to end
  local ended= code=0
  wait -n -p ended "${!running[@]}" || code=$?
  [ $code = 0 ] || { status=1; echo "${running[$ended]} ended with $code: $state/logs/${running[$ended]#*:}.log" >&2; }
  unset "running[$ended]"
}
for target in "${targets[@]}"; do
  while [ ${#running[@]} -ge "$jobs" ]; do reap; done
  fuzz "$target" &
  running[$!]=$target
done
while [ ${#running[@]} != 0 ]; do reap; done

field() { sed -n "s/^stat::$2: *//p" "$state/logs/$1.log" | tail -n 1; }
echo '| target | seconds | inputs | coverage | corpus | findings |'
echo '|---|---|---|---|---|---|'
for target in "${targets[@]}"; do
  name=${target#*:}
  findings=$(find "$state/findings" -name "$name-*" ! -name '*-slow-unit-*' -newer "$begin" | wc -l)
  [ "$findings" = 0 ] || status=1
  inputs=$(field "$name" number_of_executed_units)
  per_second=$(field "$name" average_exec_per_sec)
  took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$state/logs/$name.log" | tail -n 1)
  [ -n "$took" ] || took=$(awk -v n="${inputs:-0}" -v p="${per_second:-0}" 'BEGIN { print p ? int(n / p) : "?" }')
  coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 edges, \2 features/p' "$state/logs/$name.log" | tail -n 1)
  echo "| $name | $took | ${inputs:-0} | ${coverage:--} | $(find "$state/corpus/$name" -type f | wc -l) | $findings |"
done
find "$state/findings" -type f ! -name '*-slow-unit-*' -newer "$begin" | sort | while read -r file; do
  name=$(basename "$file" | sed 's/-\(crash\|leak\|timeout\|oom\)-.*//')
  for target in "${targets[@]}"; do
    [ "${target#*:}" != "$name" ] || echo "repeat: $(program "$target") $file"
  done
done
exit $status
