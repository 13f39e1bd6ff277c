#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the data sets that real-data tests use, once, and prints the directory they
# are in.
#
# Usage: testing/datasets/fetch.sh [DIRECTORY]
#   DIRECTORY: where to keep them; $XDG_CACHE_HOME/alos/datasets if absent.
#
# movies.json, flights-200k.json and earthquakes.json of the npm package vega-datasets,
# pinned by version and checksum. Exit status 75 if npm is not there or cannot fetch.
set -euo pipefail

exec "$(dirname "$0")/../fetch_npm.sh" vega-datasets 2.11.0 \
  JWV4ryGY1C/FIgrWP2N/zdSIhtt7bJD0cq9YlYlGq9f5P27/Mkq6U03iS7wNKGWYTTBS3PfTgyDgbWpdkmcyUg== \
  "${1:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/alos/datasets}" \
  data/movies.json data/flights-200k.json data/earthquakes.json
