#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Real data through the server, kill -9, and back: movies, 231,083 flights and
# earthquakes of vega-datasets, and this machine's Debian package records.
#
# Usage: testing/datasets/run.sh [SERVER IMPORT COMPARE]     (built when absent)
# Data that cannot be had here (no npm, no dpkg) is skipped, and said so.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
if [ $# != 3 ]; then
  (cd "$workspace" && ./bazelw build //server //tools/import //testing/datasets:compare)
  set -- "$workspace"/bazel-bin/{server/server,tools/import/import,testing/datasets/compare}
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
specs=()
status=0
directory=$("$here/fetch.sh") || status=$?
if [ "$status" = 0 ]; then
  flights=$(grep -o '"delay"' "$directory/flights-200k.json" | wc -l)
  echo "flights-200k.json has $flights flights"
  specs+=("movies $directory/movies.json --number-ids"
    "flights $directory/flights-200k.json --number-ids"
    "earthquakes $directory/earthquakes.json --array-field=features --id-field=id")
elif [ "$status" = 75 ]; then
  echo "vega-datasets cannot be fetched here, skipped"
else
  exit "$status"
fi
if [ -r /var/lib/dpkg/status ] && command -v python3 >/dev/null; then
  python3 "$here/dpkg_to_ndjson.py" >"$scratch/packages.ndjson"
  specs+=("packages $scratch/packages.ndjson")
else
  echo "no Debian package records on this machine, skipped"
fi
[ ${#specs[@]} -gt 0 ] || exit 0
"$here/round_trip.sh" "$@" "${specs[@]}"
