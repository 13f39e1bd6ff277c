#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Ten times the load that the server can serve: throughput as a part of its peak, latencies, memory, queues.
#
# Usage: testing/overload/run.sh [SECONDS]       of each load, 10 unless told
#
# Builds with -c opt. Loopback only, a temporary directory, ends by itself.
set -euo pipefail

cd "$(dirname "$0")/../.."
./bazelw build -c opt //server //testing/overload
SECONDS_EACH=${1:-10} testing/overload/overload.sh bazel-bin/server/server bazel-bin/testing/overload/overload
