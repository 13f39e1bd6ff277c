# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Real file systems on a faulty block device; sourced by the scripts here. In the middle is the storage daemon of
# QEMU:
#
#   image  <-  blkdebug (fails sectors) or blklogwrites (records writes)  <-  FUSE export  <-  losetup  <-  ext4, XFS
#
# Root, a loop device, FUSE, and the Debian packages qemu-system-common (or qemu-utils), fuse3, e2fsprogs, xfsprogs.

say() { printf '%s\n' "$*"; }
skip() {
  say "$(basename "$0"): $*, skipped"
  exit 0
}
fail() {
  say "FAILED: $*"
  [ -z "${scratch:-}" ] || [ ! -e "$scratch/log" ] || tail -n 30 "$scratch/log" | sed 's/^/  /'
  exit 1
}

QSD=${QSD:-qemu-storage-daemon}
need_rig() {
  [ "$(id -u)" = 0 ] || skip "needs root"
  local tool
  for tool in losetup mkfs.ext4 python3 "$@"; do
    command -v "$tool" >/dev/null || skip "needs $tool"
  done
  [ -e /dev/loop-control ] || skip "needs loop devices"
}
need_daemon() {
  command -v "$QSD" >/dev/null || skip "needs qemu-storage-daemon (Debian: qemu-system-common)"
  [ -e /dev/fuse ] || skip "needs FUSE"
}

scratch=$(mktemp -d /tmp/alos-disks.XXXXXX)
mkdir -p "$scratch/mnt"
server_pid= daemon_pid= loop=
clean_up() {
  [ -z "$server_pid" ] || kill -KILL "$server_pid" 2>/dev/null
  wait 2>/dev/null
  drop_disk
  rm -rf --one-file-system "$scratch" 2>/dev/null
}
trap clean_up EXIT

make_file_system() { # ext4|xfs DEVICE_OR_IMAGE
  case $1 in
    ext4) mkfs.ext4 -q -F -m 0 -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 "$2" ;;
    xfs) command -v mkfs.xfs >/dev/null || return 1; mkfs.xfs -q -f "$2" ;;
  esac
}
drop_disk() {
  mountpoint -q "$scratch/mnt" && { umount "$scratch/mnt" 2>/dev/null || umount -l "$scratch/mnt"; }
  [ -z "$loop" ] || losetup -d "$loop" 2>/dev/null
  loop=
  if [ -n "$daemon_pid" ]; then
    sleep 0.2
    umount "$scratch/dev.img" 2>/dev/null
    kill "$daemon_pid" 2>/dev/null
    wait "$daemon_pid" 2>/dev/null
    daemon_pid=
  fi
}
# Mounts $scratch/base.img directly.
mount_plain() { # MOUNT_OPTIONS...
  loop=$(losetup -f --show "$scratch/base.img") && mount "$@" "$loop" "$scratch/mnt"
}
# Mounts $scratch/base.img through the daemon. NODE: the name of the top block node.
mount_through() { # NODE BLOCKDEV...
  local node=$1 option=() device
  shift
  for device in "$@"; do option+=(--blockdev "$device"); done
  : >"$scratch/dev.img"
  "$QSD" --blockdev driver=file,node-name=basef,filename="$scratch/base.img" "${option[@]}" \
    --export type=fuse,id=e0,node-name="$node",mountpoint="$scratch/dev.img",writable=on >"$scratch/qsd.log" 2>&1 &
  daemon_pid=$!
  for _ in $(seq 50); do
    mountpoint -q "$scratch/dev.img" && break
    kill -0 "$daemon_pid" 2>/dev/null || skip "the storage daemon does not start: $(tail -n 1 "$scratch/qsd.log")"
    sleep 0.1
  done
  mountpoint -q "$scratch/dev.img" || skip "the storage daemon exports nothing: $(tail -n 1 "$scratch/qsd.log")"
  # Not --direct-io: then there is one request at a time. With several the daemon of QEMU 7.2 mixes them up.
  loop=$(losetup -f --show "$scratch/dev.img")
  mount "$loop" "$scratch/mnt" || return 1
  # blklogwrites of QEMU 7.2 mixes up its log when it is asked to write zeroes: ext4 is told to do without.
  local zeroout=/sys/fs/ext4/${loop#/dev/}/extent_max_zeroout_kb
  [ ! -e "$zeroout" ] || echo 0 >"$zeroout"
}

# Starts the server on $scratch/mnt/data; its port is in $port.
start() { # FLAG...
  : >"$scratch/log"
  "$server" --port=localhost:0 --data-path="$scratch/mnt/data" --shards=8 "$@" 2>"$scratch/log" &
  server_pid=$!
  until grep -q 'listening on' "$scratch/log"; do
    kill -0 $server_pid 2>/dev/null || { wait $server_pid; server_pid=; return 1; }
    sleep 0.02
  done
  port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$scratch/log" | head -n 1 | cut -d: -f2)
}
stop() { # SIGNAL
  kill "-$1" "$server_pid"
  wait "$server_pid" 2>/dev/null
  local code=$?
  server_pid=
  return $code
}
# The number of the first sector of a block of a file, in the device.
sector_of() { # FILE BLOCK
  python3 - "$@" <<'PY'
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(struct.unpack('i', fcntl.ioctl(fd, 1, struct.pack('i', int(sys.argv[2]))))[0] * 8)
PY
}
