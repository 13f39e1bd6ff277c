#!/bin/sh
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# prints_test.sh PROGRAM LINE...: passes if PROGRAM writes exactly these lines.
program=$1
shift
expected=$(printf '%s\n' "$@")
actual=$("$program") || exit 1
[ "$actual" = "$expected" ] && exit 0
printf 'expected:\n%s\nbut it says:\n%s\n' "$expected" "$actual"
exit 1
