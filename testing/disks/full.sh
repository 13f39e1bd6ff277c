#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# A small file system that fills up under load, with less and less room: the server refuses writes, goes on reading,
# starts again, and works as soon as there is room.
#
# Usage: full.sh SERVER TORTURE [STEPS]            steps per file system and mode, 6 unless told
set -uo pipefail
server=$(realpath "$1") torture=$(realpath "$2") steps=${3:-6}
. "$(dirname "$(realpath "$0")")/rig.sh"
need_rig

for fs in ext4 xfs; do
  for mode in sync async; do
    truncate -s 0 "$scratch/base.img"
    truncate -s 320M "$scratch/base.img"
    make_file_system $fs "$scratch/base.img" || { say "full.sh: $fs: needs mkfs.$fs, skipped"; continue 2; }
    mount_plain || { say "full.sh: $fs does not mount, skipped"; loop= ; continue 2; }
    : >"$scratch/book"
    refused=0
    for step in $(seq "$steps"); do
      # All but a little is taken by somebody else.
      dd if=/dev/zero of="$scratch/mnt/ballast" bs=64k 2>/dev/null
      sync -f "$scratch/mnt"
      truncate -s -$((step * 130))K "$scratch/mnt/ballast"
      if start --sync-mode=$mode; then
        "$torture" load "$port" "$scratch/book" 2 4 >"$scratch/loaded" 2>&1
        refused=$((refused + $(grep -oE '[0-9]+ refused' "$scratch/loaded" | cut -d' ' -f1)))
        kill -0 $server_pid 2>/dev/null || fail "$fs, $mode: the server died of a full disk"
        rm -f "$scratch/mnt/ballast"
        # The same process works on.
        sleep 0.5
        "$torture" check "$port" "$scratch/book" >"$scratch/checked" 2>&1 || fail "$fs, $mode: $(cat "$scratch/checked")"
        "$torture" load "$port" "$scratch/book" 0.5 4 >"$scratch/loaded" 2>&1
        grep -q '^0 writes' "$scratch/loaded" && fail "$fs, $mode: no writes although there is room again"
        [ $((step % 2)) = 0 ] && { stop KILL; true; } || stop TERM || fail "$fs, $mode: it does not stop in order"
      else
        grep -qi 'no space\|full' "$scratch/log" || fail "$fs, $mode: does not start on a full disk and does not say why"
        rm -f "$scratch/mnt/ballast"
      fi
      start --sync-mode=$mode || fail "$fs, $mode: the server does not start again"
      "$torture" check "$port" "$scratch/book" >"$scratch/checked" 2>&1 || fail "$fs, $mode: $(cat "$scratch/checked")"
      stop TERM || fail "$fs, $mode: it does not stop in order"
    done
    drop_disk
    say "$fs, $mode: full $steps times, $refused writes refused, nothing that was acknowledged is missing"
  done
done
