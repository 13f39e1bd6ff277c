#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# alos on real file systems whose disk loses power, is full, or cannot read and write some sectors. As root; what
# is missing on this machine is said, and skipped.
#
# Usage: testing/disks/run.sh [POWER_CUTS]         per file system, 20 unless told
set -euo pipefail
cd "$(dirname "$0")/../.."
./bazelw build //server //testing/kills:torture
programs=(bazel-bin/server/server bazel-bin/testing/kills/torture)
testing/disks/full.sh "${programs[@]}"
testing/disks/bad_sectors.sh "${programs[@]}"
testing/disks/power_cuts.sh "${programs[@]}" "${1:-20}"
