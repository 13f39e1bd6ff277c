#!/usr/bin/env python3
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the newest Debian revision of a pinned archive file that Debian no longer has.

debian.bzl runs this when a pinned file is gone. A point release of Debian replaces
`libx-dev_1.81.0-5+deb12u1_amd64.deb` by `libx-dev_1.81.0-5+deb12u2_amd64.deb`: the same upstream
version with other patches. This asks apt for the newest such file, in a private copy of the package
lists, so that neither root nor an earlier `apt-get update` is needed and nothing on the machine changes.
The sha256 it prints is vouched for by the signature that apt has checked on its index.

Usage: debian_revision.py WORK_FOLDER COMPONENT SOURCE_PACKAGE FILE
Prints "PATH SHA256", the path being relative to a mirror's root. Fails with a reason on stderr.
"""

import functools
import os
import re
import subprocess
import sys

# A repacked upstream tarball keeps upstream's version: 1.5.4+dfsg2 is 1.5.4.
_REPACKED = re.compile(r"[+~.](dfsg|ds|repack)[.0-9]*$")


class NotFound(Exception):
    """No usable revision; the text says why."""


def parse_name(file):
    """Splits a file name: (package, Debian version or upstream version, is_deb)."""
    if file.endswith(".deb"):
        parts = file[: -len(".deb")].split("_")
        if len(parts) != 3:
            raise NotFound(f"{file} is not named package_version_architecture.deb")
        return parts[0], parts[1], True
    match = re.fullmatch(r"([^_]+)_(.+)\.orig\.tar\.[a-z0-9]+", file)
    if not match:
        raise NotFound(f"{file} is neither a .deb nor an .orig.tar archive")
    return match.group(1), match.group(2), False


def upstream_of(version, is_deb):
    """The version upstream gave: no epoch, no Debian revision, no mark of a repacked tarball."""
    version = version.split(":", 1)[-1]
    if is_deb and "-" in version:
        version = version.rsplit("-", 1)[0]
    return _REPACKED.sub("", version)


def stanzas(text):
    """Yields the paragraphs of apt's output as {field: value}; continuation lines keep their breaks."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields, name = {}, None
        for line in paragraph.splitlines():
            if line[:1] in (" ", "\t"):
                if name:
                    fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                fields[name] = value.strip()
        if fields:
            yield fields


def offers(index, file):
    """Every file in the index of the same package and kind as `file`: [(version, path, sha256)]."""
    package, _, is_deb = parse_name(file)
    found = []
    for fields in stanzas(index):
        if is_deb:
            architecture = file[: -len(".deb")].split("_")[2]
            if fields.get("Package") == package and fields.get("Architecture") == architecture:
                found.append((fields["Version"], fields["Filename"], fields["SHA256"]))
            continue
        for line in fields.get("Checksums-Sha256", "").splitlines():
            columns = line.split()
            if len(columns) != 3:
                continue
            try:
                name, version, other_is_deb = parse_name(columns[2])
            except NotFound:
                continue
            if name == package and not other_is_deb:
                found.append((version, fields["Directory"] + "/" + columns[2], columns[0]))
    return found


def newest(index, file, compare):
    """Picks (path, sha256) out of `index`. compare(a, b) orders two Debian versions: -1, 0 or 1."""
    _, pinned, is_deb = parse_name(file)
    upstream = upstream_of(pinned, is_deb)
    all_offers = offers(index, file)
    usable = [
        offer
        for offer in all_offers
        if upstream_of(offer[0], is_deb) == upstream
        and compare(offer[0].split(":", 1)[-1], pinned) >= 0
        and os.path.basename(offer[1]) != file
    ]
    if not usable:
        versions = ", ".join(sorted({offer[0] for offer in all_offers})) or "no version at all"
        raise NotFound(f"apt's index offers no newer revision of upstream version {upstream} (it has {versions})")
    best = max(usable, key=functools.cmp_to_key(lambda a, b: compare(a[0], b[0])))
    return best[1], best[2]


def compare_versions(a, b):
    """As dpkg orders them."""
    for relation, answer in (("lt", -1), ("eq", 0)):
        if subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=False).returncode == 0:
            return answer
    return 1


def _run(command):
    environment = dict(os.environ, LC_ALL="C")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        raise NotFound("`{}` failed: {}".format(" ".join(command), done.stderr.strip() or done.stdout.strip()))
    return done.stdout


def read_index(work, component, source, file):
    """apt's records of the package (for a .deb) or source package (for a tarball), freshly fetched."""
    package, _, is_deb = parse_name(file)
    options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]
    for key, folder in (("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")):
        path = os.path.join(work, folder)
        os.makedirs(os.path.join(path, "partial" if folder == "lists" else "archives/partial"), exist_ok=True)
        options += ["-o", f"{key}={path}"]
    if not is_deb:
        # Machines rarely list sources: ask for those of the mirrors and suites they do list.
        uris = re.findall(r"^'(\S+)/dists/(\S+)/(?:In)?Release'", _run(["apt-get", "update", "--print-uris"]), re.M)
        sources = os.path.join(work, "sources.list")
        with open(sources, "w", encoding="utf-8") as out:
            for root, suite in uris:
                out.write(f"deb-src {root} {suite} {component}\n")
        options += ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"]
    _run(["apt-get", *options, "-qq", "update"])
    if is_deb:
        return _run(["apt-cache", *options, "show", "--all-versions", package])
    return _run(["apt-cache", *options, "showsrc", "--only-source", source])


def main(arguments):
    if len(arguments) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    work, component, source, file = arguments
    try:
        path, sha256 = newest(read_index(work, component, source, file), file, compare_versions)
    except NotFound as reason:
        print(reason, file=sys.stderr)
        return 1
    print(path, sha256)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
