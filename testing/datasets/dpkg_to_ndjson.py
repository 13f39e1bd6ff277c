#!/usr/bin/env python3
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes this machine's Debian package records as one JSON object per line.

Usage: dpkg_to_ndjson.py [/var/lib/dpkg/status] > packages.ndjson

Fields keep their names; Installed-Size becomes a number, relations (Depends ...) and
Tag arrays of strings, Conffiles an array of objects. `_id` is package and architecture.
"""

import json
import sys

LISTS = {
    "Breaks", "Conflicts", "Depends", "Enhances", "Pre-Depends", "Provides",
    "Recommends", "Replaces", "Suggests", "Tag",
}


def paragraphs(lines):
    """Yields each paragraph as a list of (field, value); continuation lines belong to the value."""
    fields = []
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields = []
        elif line[0] in " \t":
            fields[-1][1] += "\n" + line[1:]
        else:
            name, _, value = line.partition(":")
            fields.append([name, value.strip()])
    if fields:
        yield fields


def document(fields):
    values = dict(fields)
    result = {"_id": "%s:%s" % (values["Package"], values.get("Architecture", "none"))}
    for name, value in fields:
        if name == "Installed-Size":
            result[name] = int(value)
        elif name in LISTS:
            result[name] = [item.strip() for item in value.replace("\n", " ").split(",")]
        elif name == "Conffiles":
            conffiles = [line.split() for line in value.splitlines() if line.strip()]
            result[name] = [{"path": part[0], "md5": part[1]} for part in conffiles]
        else:
            result[name] = value
    return result


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/var/lib/dpkg/status"
    with open(path, encoding="utf-8", errors="replace") as status:
        for fields in paragraphs(status):
            json.dump(document(fields), sys.stdout, ensure_ascii=False)
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
