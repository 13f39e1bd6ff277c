#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Branch coverage of what keeps and decodes data: the logs, the journal, recovery, the decoders of what comes from disk
# and network. Builds their tests with Clang's source-based coverage, runs them, and prints a table; how it counts
# is in branches.py. Ends with a status that is not 0 when a file, or all together, is below its limit.
#
# Usage: testing/coverage/run.sh [--missed] [OPTION OF BAZEL...]
#   --missed           lists the branches that no test took, too
#   ALOS_COVERAGE_DIR  where it builds and keeps what it has measured, ~/.cache/alos-coverage unless set
#   ALOS_CRASH_STATES  crash states of the crash tests, 4,000 unless set
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
state=${ALOS_COVERAGE_DIR:-$HOME/.cache/alos-coverage}
options=() missed=()
for argument; do
  case $argument in
    --missed) missed=(--missed) ;;
    *) options+=("$argument") ;;
  esac
done
mkdir -p "$state/tmp"
rm -f "$state"/*.profraw
targets=(
  //alos/document:{value_test,value_fuzz}
  //alos/engine:{compaction_test,constraint_test,engine_test,joint_log_test,joint_transaction_test}
  //alos/engine:{recovery_fuzz,recovery_test,shard_test,transaction_test}
  //alos/index:primary_checkpoint_test
  //alos/maintenance:{backup_test,check_test}
  //alos/net:{frame_fuzz,frame_test,handshake_fuzz,handshake_test,message_test,request_fuzz,response_fuzz}
  //alos/storage:{atomic_file_test,journal_test,manifest_test,record_test,shard_log_test}
  //testing/crash:{compaction_crash_test,engine_crash_test,engine_fault_test,torn_tail_test}
)
read -r -a startup <<<"${ALOS_BAZEL_STARTUP:---output_base=$state/bazel}"
# Only our own code is instrumented: the dependencies are those of other builds with Clang.
ours='^(alos|plugins|server|tools|testing|examples)/'
./bazelw "${startup[@]}" build --config=clang16 --symlink_prefix="$state/out-" --jobs="${ALOS_JOBS:-2}" \
  --noshow_progress --strip=never --linkopt=-fprofile-instr-generate \
  --per_file_copt="$ours@-fprofile-instr-generate,-fcoverage-mapping,-Wno-error" \
  ${options[@]+"${options[@]}"} "${targets[@]}" >"$state/build.log" 2>&1 ||
  { tail -n 40 "$state/build.log"; exit 1; }

export TEST_TMPDIR=$state/tmp ALOS_CRASH_STATES=${ALOS_CRASH_STATES:-4000} ALOS_FLIPS=${ALOS_FLIPS:-3000}
programs=()
for target in "${targets[@]}"; do
  program=$state/out-bin/$(tr ':' '/' <<<"${target#//}")
  programs+=("$program")
  arguments=() package=${target#//}
  # A replayed corpus is the arguments of its program.
  case $target in
    *recovery_fuzz) arguments=(alos/engine/recovery_fuzz_corpus) ;;
    *_fuzz) arguments=("${package%%:*}"/testdata/"$(basename "${target#*:}" _fuzz)"_corpus) ;;
  esac
  LLVM_PROFILE_FILE=$state/$(tr '/:' '__' <<<"${target#//}").profraw \
    timeout 1800 "$program" ${arguments[@]+"${arguments[@]}"} >"$state/output" 2>&1 ||
    { tail -n 30 "$state/output"; echo "$target fails"; exit 1; }
done
llvm-profdata-16 merge -sparse -o "$state/all.profdata" "$state"/*.profraw
rm -f "$state"/*.profraw
# One program at a time: a template's instances in several programs are all of it, put together by branches.py.
for program in "${programs[@]}"; do
  llvm-cov-16 export "$program" -instr-profile="$state/all.profdata" -skip-expansions 2>/dev/null |
    python3 testing/coverage/branches.py collect
done | python3 testing/coverage/branches.py report "${missed[@]}"
