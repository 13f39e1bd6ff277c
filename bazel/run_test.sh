#!/bin/sh
# run_test.sh PROGRAM EXPECTED: fails unless PROGRAM succeeds and prints exactly what EXPECTED holds.
set -eu
program=$PWD/$1
expected=$PWD/$2
mkdir -p "$TEST_TMPDIR/run"
cd "$TEST_TMPDIR/run"
"$program" > output.txt
diff "$expected" output.txt
