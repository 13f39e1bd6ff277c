#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Sectors that cannot be read, under a mapped log, and sectors that cannot be written when a flush needs them: the
# server lives, one document cannot be had, the others can; a failed flush is not acknowledged and not trusted later.
#
# Usage: bad_sectors.sh SERVER TORTURE
set -uo pipefail
server=$(realpath "$1") torture=$(realpath "$2")
. "$(dirname "$(realpath "$0")")/rig.sh"
need_rig
need_daemon

for fs in ext4 xfs; do
  # ---- Reading: some blocks in the middle of a shard.
  truncate -s 0 "$scratch/base.img"
  truncate -s 400M "$scratch/base.img"
  make_file_system $fs "$scratch/base.img" || { say "bad_sectors.sh: $fs: needs mkfs.$fs, skipped"; continue; }
  mount_plain || { say "bad_sectors.sh: $fs does not mount, skipped"; loop= ; continue; }
  start --sync-mode=sync --shards=1 || fail "$fs: the server does not start"
  : >"$scratch/book"
  "$torture" load "$port" "$scratch/book" 1.5 4 >/dev/null
  stop TERM || fail "$fs: it does not stop in order"
  shard=$(echo "$scratch"/mnt/data/*/shard_000.db)
  sync -f "$shard"
  bad=$(sector_of "$shard" 3)
  [ "$bad" != 0 ] || fail "$fs: $shard has no fourth block"
  drop_disk
  mount_through bd "driver=blkdebug,node-name=bd,image=basef,inject-error.0.event=none,inject-error.0.errno=5,inject-error.0.sector=$bad,inject-error.0.once=off,inject-error.0.iotype=read" ||
    fail "$fs: does not mount with a bad sector"
  start --sync-mode=sync || fail "$fs: the server does not start with a bad sector in a log"
  "$torture" check "$port" "$scratch/book" >"$scratch/checked" 2>&1
  cat "$scratch/checked" >>"$scratch/log"
  kill -0 $server_pid 2>/dev/null || fail "$fs: the server died of a bad sector"
  grep -q 'wrong bytes\|twice\|never written' "$scratch/checked" && fail "$fs: wrong answers: $(cat "$scratch/checked")"
  "$torture" requests "$port" >"$scratch/requests" 2>&1 || fail "$fs: requests are lost: $(cat "$scratch/requests")"
  kill -0 $server_pid 2>/dev/null || fail "$fs: the server died of a bad sector"
  say "$fs: a bad sector under a mapped log: the server lives; $(tail -n 1 "$scratch/requests"); $(grep -c DATA_LOSS "$scratch/checked") scans told of it"
  grep -q DATA_LOSS "$scratch/checked" || fail "$fs: nobody noticed the bad sector"
  stop KILL
  drop_disk

  # ---- Writing: flushes that fail.
  truncate -s 0 "$scratch/base.img"
  truncate -s 400M "$scratch/base.img"
  make_file_system $fs "$scratch/base.img"
  mount_plain
  start --sync-mode=sync --shards=4 || fail "$fs: the server does not start"
  : >"$scratch/book"
  "$torture" load "$port" "$scratch/book" 0.3 4 >/dev/null
  stop KILL
  drop_disk
  # Every flush fails from the sixtieth on. (Events reach blkdebug only from a node above it.)
  rules=
  for n in $(seq 60); do
    rules+=",set-state.$((n - 1)).event=flush_to_disk,set-state.$((n - 1)).state=$n,set-state.$((n - 1)).new_state=$((n + 1))"
  done
  rules+=",inject-error.0.event=flush_to_disk,inject-error.0.state=61,inject-error.0.errno=5,inject-error.0.once=off,inject-error.0.iotype=flush"
  mount_through top "driver=blkdebug,node-name=bd,image=basef$rules" "driver=raw,node-name=top,file=bd" || {
    drop_disk
    continue
  }
  if start --sync-mode=sync; then
    "$torture" load "$port" "$scratch/book" 1 4 >"$scratch/loaded" 2>&1
    kill -0 $server_pid 2>/dev/null || fail "$fs: the server died of a failed flush"
    say "$fs: flushes that fail: $(cat "$scratch/loaded")"
    stop KILL
  else
    say "$fs: flushes that fail: the server does not start, and says: $(tail -n 1 "$scratch/log" | cut -c1-160)"
  fi
  drop_disk
  # (XFS has shut itself down, and may be there for a while.)
  options=()
  [ $fs != xfs ] || options=(-o nouuid)
  mount_plain "${options[@]}" || fail "$fs: does not mount after that"
  start --sync-mode=sync || fail "$fs: the server does not start after a failed flush"
  "$torture" check "$port" "$scratch/book" >"$scratch/checked" 2>&1 || fail "$fs: $(cat "$scratch/checked")"
  say "$fs: after flushes that failed: $(cat "$scratch/checked")"
  stop TERM || fail "$fs: it does not stop in order"
  drop_disk
done
