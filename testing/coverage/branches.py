# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts branches in what `llvm-cov export` writes.

  branches.py collect < JSON       one line a branch and way: file, line, column, place in macros, way, times taken
  branches.py report [--missed]    the table, of all lines together

A condition has two ways, true and false; each counts by itself. The error of ALOS_RETURN_IF_ERROR and
ALOS_ASSIGN_OR_RETURN is a way, too. A condition in a template counts once, taken if any instance of it took it. Not counted:
what only our own mistakes can take (ALOS_CHECK, ALOS_DCHECK), log statements (their condition is the log level), and
conditions that the compiler has decided. Clang has no branches for exceptions.
"""

import collections
import json
import os
import re
import sys

# What is measured: file, its functions (None: all; names of definitions, with all that stands in them), least per cent.
# Limits go up with the tests, never down.
MEASURED = [
    ('alos/storage/atomic_file.h', None, 97),
    ('alos/storage/journal.h', None, 97),
    ('alos/storage/manifest.h', None, 98),
    ('alos/storage/record.h', None, 96),
    ('alos/storage/shard_log.h', None, 96),
    ('alos/index/primary_checkpoint.h', None, 97),
    ('alos/engine/internal/database_opening.h', ['Open', 'LoadManifest', 'WriteManifest', 'RecoverShards'], 95),
    ('alos/engine/internal/database_changes.h', ['ReplayEvents'], 90),
    ('alos/engine/internal/shard.h', [
        'OpenLog', 'LoadCheckpoint', 'Recover', 'CaptureCheckpoint', 'CheckpointWritten', 'Damaged', 'CheckDamage',
        'HasGoodHeader', 'CheckHeader'], 97),
    ('alos/engine/internal/joint_log.h', None, 95),
    ('alos/document/internal/message_pack.h', None, 95),
    ('alos/net/frame.h', None, 95),
    ('alos/net/handshake.h', None, 95),
    ('alos/net/message.h', None, 98),
]
LEAST_OF_ALL = 95
IGNORED = re.compile(r'\s*(ALOS_D?CHECK|ALOS_LOG|ABSL_)')


def source(file):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    with open(os.path.join(root, file)) as text:
        return text.read().split('\n')


def lines_of(file, functions):
    """The numbers of the lines of these functions' definitions; they end with a brace indented as their first line is."""
    lines = source(file)
    found = set()
    for name in functions:
        ranges = []
        for first, line in enumerate(lines):
            # No call: something stands before the name that a declaration may have there.
            if not re.match(r'\s*(?!return\b|//)[A-Za-z_][\w:<>,*& \[\]]*?(?:[ :*&])%s\(' % name, line):
                continue
            brace = next(i for i in range(first, len(lines)) if lines[i].rstrip()[-1:] in ('{', '}', ';'))
            if lines[brace].rstrip().endswith(';'):
                continue
            last = brace
            if lines[brace].rstrip().endswith('{'):
                end = re.match(r'\s*', line).group() + '}'
                last = next(i for i in range(brace, len(lines)) if lines[i].rstrip() == end)
            ranges.append((first, last))
        if not ranges:
            sys.exit('%s: there is no definition of %s' % (file, name))
        for first, last in ranges:
            found.update(range(first + 1, last + 2))
    return found


def collect():
    wanted = {file: functions and lines_of(file, functions) for file, functions, _ in MEASURED}
    text = sys.stdin.read()
    if not text:
        sys.exit('llvm-cov wrote nothing')
    counts = collections.Counter()
    folded = set()
    for function in json.loads(text)['data'][0]['functions']:
        files = function['filenames']
        # The file of the function; where it is a macro's, that of its expansion is among the others.
        file = next((f for f in wanted if files[0].endswith('/' + f)), None)
        if file is None:
            continue
        # Where each macro is used: [line, column, file] of the expansion with this number.
        uses = {}
        for region in function['regions']:
            if region[7] == 1:
                uses[region[6]] = (region[0], region[1], region[5])
        for branch in function.get('branches', []):
            line, column, end_line, end_column, taken, not_taken, number = branch[:7]
            place = []
            while number in uses and number != 0:
                place.append('%d.%d' % (line, column))
                line, column, number = uses[number]
            if number != 0 or (wanted[file] and line not in wanted[file]):
                continue
            key = (file, line, column, '/'.join(place) or '-')
            counts[key + ('T',)] += taken
            counts[key + ('F',)] += not_taken
    for key, count in counts.items():
        print(*key, count)


def report(show_missed):
    counts = collections.Counter()
    for text in sys.stdin:
        file, line, column, place, way, count = text.split()
        counts[(file, int(line), int(column), place, way)] += int(count)
    total = total_taken = 0
    bad = []
    print('%-42s %9s %7s %7s' % ('file', 'branches', 'taken', '%'))
    missed_all = []
    for file, functions, least in MEASURED:
        lines = source(file)
        ways = taken = 0
        for (of, line, column, place, way), count in sorted(counts.items()):
            if of != file or IGNORED.match(lines[line - 1][column - 1:]) or IGNORED.match(lines[line - 1]):
                continue
            ways += 1
            if count:
                taken += 1
            else:
                missed_all.append('%s:%d:%d: never %s: %s' % (
                    file, line, column, {'T': 'true', 'F': 'false'}[way], lines[line - 1].strip()))
        per_cent = 100.0 * taken / ways if ways else 0.0
        total += ways
        total_taken += taken
        print('%-42s %9d %7d %7.1f%s' % (file + (' (recovery)' if functions else ''), ways, taken, per_cent,
                                        '' if per_cent >= least else '  below %d' % least))
        if per_cent < least:
            bad.append(file)
    per_cent = 100.0 * total_taken / total if total else 0.0
    print('%-42s %9d %7d %7.1f' % ('all', total, total_taken, per_cent))
    if show_missed:
        print('\n'.join(missed_all))
    if bad or per_cent < LEAST_OF_ALL:
        sys.exit('the coverage is below its limit')


if sys.argv[1] == 'collect':
    collect()
else:
    report('--missed' in sys.argv)
