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
# pinned by version and checksum. Nothing is executed that comes with it. Exit status 75
# if npm is not there or cannot fetch.
set -euo pipefail

package=vega-datasets version=2.11.0
sha512=JWV4ryGY1C/FIgrWP2N/zdSIhtt7bJD0cq9YlYlGq9f5P27/Mkq6U03iS7wNKGWYTTBS3PfTgyDgbWpdkmcyUg==
files=(movies.json flights-200k.json earthquakes.json)

directory=${1:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/alos/datasets}/$package-$version
if [ -e "$directory/complete" ]; then
  echo "$directory"
  exit
fi
command -v npm >/dev/null || { echo "fetch.sh: npm is not installed" >&2; exit 75; }
mkdir -p "$directory"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! (cd "$scratch" && npm pack --ignore-scripts --silent "$package@$version") >"$scratch/log" 2>&1; then
  echo "fetch.sh: npm cannot fetch $package@$version: $(grep -m1 -i error "$scratch/log" || tail -1 "$scratch/log")" >&2
  exit 75
fi
archive=$scratch/$package-$version.tgz
if [ "$(openssl dgst -sha512 -binary "$archive" | base64 -w0)" != "$sha512" ]; then
  echo "fetch.sh: $package-$version.tgz does not have the pinned SHA-512" >&2
  exit 1
fi
for file in "${files[@]}"; do
  tar -xzOf "$archive" "package/data/$file" >"$directory/$file"
done
touch "$directory/complete"
echo "$directory"
