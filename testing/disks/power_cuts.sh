#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Power cuts on real file systems. A server in sync mode works while every write and flush of the device is recorded;
# then the device is put back as a loss of power could have left it, at a random moment (all writes up to a flush, and
# any of those after it), and what a server finds on it is compared with what had been acknowledged by then.
#
# Usage: power_cuts.sh SERVER TORTURE [CUTS]       cuts per file system, 20 unless told
#   testing/disks/run.sh does it all.
set -uo pipefail
server=$(realpath "$1") torture=$(realpath "$2") cuts=${3:-20}
. "$(dirname "$(realpath "$0")")/rig.sh"
need_rig
need_daemon

for fs in ext4 xfs; do
  rm -f "$scratch"/*.img "$scratch"/book*
  truncate -s 400M "$scratch/base.img"
  make_file_system $fs "$scratch/base.img" || { say "power_cuts.sh: $fs: needs mkfs.$fs, skipped"; continue; }
  cp --sparse=always "$scratch/base.img" "$scratch/first.img"
  truncate -s 2G "$scratch/log.img"
  mount_through lw \
    driver=file,node-name=logf,filename="$scratch/log.img" \
    driver=blklogwrites,node-name=lw,file=basef,log=logf,log-sector-size=512,log-super-update-interval=1 ||
    { say "power_cuts.sh: $fs does not mount, skipped"; drop_disk; continue; }
  start --sync-mode=sync || fail "$fs: the server does not start"
  # While the client works, how much of the log there was when a line of the book was written is noted.
  : >"$scratch/book"
  "$torture" load "$port" "$scratch/book" "${SECONDS_OF_LOAD:-4}" 6 >"$scratch/loaded" &
  load=$!
  python3 - "$scratch" $load <<'PY'
import os, struct, sys, time
scratch, pid = sys.argv[1], int(sys.argv[2])
marks = open(scratch + '/marks', 'w')
while True:
    # The book first: what it says was acknowledged was written before the log is looked at.
    size = os.path.getsize(scratch + '/book')
    with open(scratch + '/log.img', 'rb') as log:
        entries = struct.unpack('<QQQI', log.read(28))[2]
    marks.write('%d %d\n' % (entries, size))
    try:
        if open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0] == 'Z': break
    except OSError: break
    time.sleep(0.003)
PY
  wait $load
  say "$fs: $(cat "$scratch/loaded")"
  stop KILL
  drop_disk
  cp "$scratch/book" "$scratch/book.whole"
  for cut in $(seq "$cuts"); do
    seed=$((RANDOM * 32768 + RANDOM))
    python3 - "$scratch" "$seed" <<'PY' || fail "$fs: the log cannot be replayed"
import random, struct, sys, shutil, subprocess
scratch, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
subprocess.check_call(['cp', '--sparse=always', scratch + '/first.img', scratch + '/base.img'])
log = open(scratch + '/log.img', 'rb')
magic, version, count, sector = struct.unpack('<QQQI', log.read(28))
entries, position = [], sector
for _ in range(count):
    log.seek(position)
    at, sectors, flags, length = struct.unpack('<QQQQ', log.read(32))
    position += sector
    entries.append((at, sectors, flags, position))
    if not flags & 4: position += sectors * sector      # bit 2: a discard has no data
marks = [tuple(map(int, line.split())) for line in open(scratch + '/marks')]
marks = [m for m in marks if m[0] <= count]
# A moment: this many entries had reached the device.
lowest = marks[len(marks) // 20][0]
cut = rng.randint(min(lowest, count - 1), count)
flush = max([i for i in range(cut) if entries[i][2] & 1] or [0])
image = open(scratch + '/base.img', 'r+b')
for i in range(cut):
    at, sectors, flags, data = entries[i]
    if flags & 4 or sectors == 0: continue
    log.seek(data)
    bytes_ = log.read(sectors * sector)
    if i > flush and not flags & 2:                     # bit 1: forced unit access
        choice = rng.random()
        if choice < 0.4: continue
        if choice < 0.6: bytes_ = bytes_[:512 * rng.randint(0, sectors)]
    image.seek(at * sector)
    image.write(bytes_)
image.close()
# Acknowledged for sure: what the book had when no more than up to the last flush had been recorded.
acknowledged = max([m[1] for m in marks if m[0] <= flush] or [0])
whole = open(scratch + '/book.whole', 'rb').read()
# What was begun later may be there, too; nothing after that moment was acknowledged.
head = whole[:acknowledged]
head = head[:head.rfind(b'\n') + 1]
tail = whole[len(head):]
tail = b''.join(b'S' + line[1:] + b'\n' for line in tail.split(b'\n') if line)
open(scratch + '/book', 'wb').write(head + tail)
print('cut after %d of %d writes, the last flush after %d; %d bytes of the book acknowledged' %
      (cut, count, flush, len(head)), file=open(scratch + '/cut', 'w'))
PY
    mount_plain || fail "$fs: cut $cut (seed $seed): the file system does not mount: $(cat "$scratch/cut")"
    if [ -d "$scratch/mnt/data" ]; then
      start --sync-mode=sync || fail "$fs: cut $cut (seed $seed): the server does not start: $(cat "$scratch/cut")"
      "$torture" check "$port" "$scratch/book" >"$scratch/checked" 2>&1 ||
        fail "$fs: cut $cut (seed $seed): $(cat "$scratch/cut" "$scratch/checked")"
      stop TERM || fail "$fs: the server does not stop in order"
    fi
    drop_disk
  done
  say "$fs: $cuts power cuts, nothing that was acknowledged is missing"
done
