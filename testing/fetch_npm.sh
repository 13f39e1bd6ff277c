#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Fetches a package of the npm registry, once, and prints the directory it is in.
#
# Usage: testing/fetch_npm.sh PACKAGE VERSION SHA512 PARENT [FILE ...]
#   SHA512: of the tarball, in base64, as npm's `dist.integrity` says it
#   PARENT: the directory is PARENT/PACKAGE-VERSION
#   FILE: keep only these paths of the package, by their last names; all of it if none is given
#
# Nothing is executed that comes with it. Exit status 75 if npm is not there or cannot fetch.
set -euo pipefail

package=$1 version=$2 sha512=$3 directory=$4/$1-$2
shift 4

if [ -e "$directory/complete" ]; then
  echo "$directory"
  exit
fi
command -v npm >/dev/null || { echo "fetch_npm.sh: npm is not installed" >&2; exit 75; }
mkdir -p "$directory"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! (cd "$scratch" && npm pack --ignore-scripts --silent "$package@$version") >"$scratch/log" 2>&1; then
  echo "fetch_npm.sh: npm cannot fetch $package@$version: $(grep -m1 -i error "$scratch/log" || tail -1 "$scratch/log")" >&2
  exit 75
fi
archive=$scratch/$package-$version.tgz
if [ "$(openssl dgst -sha512 -binary "$archive" | base64 -w0)" != "$sha512" ]; then
  echo "fetch_npm.sh: $package-$version.tgz does not have the pinned SHA-512" >&2
  exit 1
fi
if [ $# = 0 ]; then
  tar -xzf "$archive" -C "$directory" --strip-components=1 --no-same-owner
fi
for file; do
  tar -xzOf "$archive" "package/$file" >"$directory/${file##*/}"
done
touch "$directory/complete"
echo "$directory"
