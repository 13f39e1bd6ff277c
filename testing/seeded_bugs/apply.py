# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""Puts the bugs of bugs.py, each behind a switch, into the tree at argv[1]. Prints `name target filter` lines."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bugs  # noqa: E402

MACRO = '''#include <cstdlib>
#include <cstring>

#ifndef ALOS_SEEDED_BUG
#define ALOS_SEEDED_BUG(name)                                                     \\
  ([] {                                                                           \\
    static const char* const wanted = ::getenv("ALOS_SEEDED_BUG");                \\
    return wanted != nullptr && ::strcmp(wanted, name) == 0;                      \\
  }())
#endif
'''


def main():
    tree = sys.argv[1]
    texts = {}
    stale = False
    for name, _, changes, target, tests in bugs.BUGS:
        for file, old, new in changes:
            if file not in texts:
                with open(os.path.join(tree, file)) as source:
                    texts[file] = source.read()
            # Where several bugs share a place, the text has been changed by an earlier one.
            new = new.replace('BUG', 'ALOS_SEEDED_BUG("%s")' % name)
            if texts[file].count(old) != 1:
                print('%s: %s: its text is there %d times' % (name, file, texts[file].count(old)), file=sys.stderr)
                stale = True
            texts[file] = texts[file].replace(old, new)
        print(name, target, tests)
    if stale:
        sys.exit('bugs.py no longer fits the tree')
    for file, text in texts.items():
        define = text.index('#define ALOS_')
        end = text.index('\n', define) + 1
        with open(os.path.join(tree, file), 'w') as out:
            out.write(text[:end] + '\n' + MACRO + text[end:])


main()
