#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Would a bug be noticed, shown small, and shown again from what was printed?
set -euo pipefail

output=$TEST_TMPDIR/output
if "$1" --plant_bug --seed=7 --cases=2000 --counts=false >"$output"; then
  echo "a planted bug went unnoticed" >&2
  exit 1
fi
cat "$output"
world=$TEST_TMPDIR/world.json
sed -n '/^\[$/,/^\]$/p' "$output" >"$world"
# A document and a query.
[ "$(grep -c '^  {' "$world")" = 2 ] || { echo "the failure was not made small" >&2; exit 1; }
if "$1" --plant_bug --replay="$world"; then
  echo "what was printed does not fail again" >&2
  exit 1
fi
"$1" --replay="$world"
