#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The queries of run.sh, warm, with 1, 16, 256 and 1,024 shards side by side.
#
# Usage: testing/bars/shards.sh [--shards LIST] [--data-path DIR] [FLAGS OF run.sh]
#
# Each number of shards has a folder of its own in DIR, which must have room for all of them. Prints
# p50 of each and the ratio of the slowest to the fastest.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
shards='1 16 256 1024' data_path='' flags=()
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || { echo "shards.sh: $1 has no value" >&2; exit 2; }
  case $1 in
    --shards) shards=$2 ;;
    --data-path) data_path=$2 ;;
    *) flags+=("$1" "$2") ;;
  esac
  shift 2
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
data_path=${data_path:-$scratch}

status=0
for count in $shards; do
  echo "$count shards" >&2
  "$here/run.sh" --cold no --experiments '' --shards "$count" --data-path "$data_path/$count" "${flags[@]}" \
    >"$scratch/table.$count" || status=1
done
echo "| query | $(sed 's/ / | /g' <<<"$shards") | slowest / fastest |"
for count in $shards; do
  awk -F' *[|] *' -v count="$count" '$2 ~ /`.*`/ {print count "|" $2 "|" $4}' "$scratch/table.$count"
done | awk -F'|' -v shards="$shards" '
  function us(text) { split(text, part, " "); return part[1] * (part[2] == "s" ? 1e6 : part[2] == "ms" ? 1e3 : 1) }
  BEGIN { n = split(shards, list, " "); for (i = 0; i < n + 2; i++) printf "| --- "; print "|" }
  { if (!($2 in known)) { known[$2] = 1; order[++rows] = $2 } p50[$2, $1] = $3 }
  END {
    for (r = 1; r <= rows; r++) {
      low = high = 0; line = "| " order[r]
      for (i = 1; i <= n; i++) {
        text = p50[order[r], list[i]]; line = line " | " text; t = us(text)
        if (t > 0 && (low == 0 || t < low)) low = t
        if (t > high) high = t
      }
      printf "%s | %s |\n", line, (low > 0 ? sprintf("%.2f", high / low) : "-")
    }
  }'
exit $status
