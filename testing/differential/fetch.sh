#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the npm package mingo, pinned by version and checksum, once, and prints the directory it
# is in.
#
# Usage: testing/differential/fetch.sh [DIRECTORY]
#   DIRECTORY: where to keep it; $XDG_CACHE_HOME/alos/npm if absent.
#
# Exit status 75 if npm is not there or cannot fetch.
set -euo pipefail

exec "$(dirname "$0")/../fetch_npm.sh" mingo 7.2.7 \
  4IRY2mkJlAv/RmnLrXJyP01T6JW9tmD8NmOC7ANgTUW6B1AU8enDySHWREdMvY2yBv0xuQ1hzA1d4fEHYgDoXw== \
  "${1:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/alos/npm}"
