#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Makes the folder NAME here with a store as this version writes it: testing/stores/make.sh format_N
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:?name of the folder}
[ ! -e "testing/stores/$name" ] || { echo "testing/stores/$name is there already; stores are never changed"; exit 1; }
ALOS_MAKE_STORE="$PWD/testing/stores/$name" ./bazelw run //testing/stores:stores_test
rm -f "testing/stores/$name/alos.lock"
du -sh --apparent-size "testing/stores/$name"
