#!/usr/bin/env python3
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of debian_revision.py's choice, over what apt prints; no network."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
import debian_revision as revision  # noqa: E402

PACKAGES = """\
Package: libx-dev
Architecture: amd64
Version: 1.81.0-5+deb12u2
Description: headers
 Version: 9.9.9-1
Filename: pool/main/x/x1.81/libx-dev_1.81.0-5+deb12u2_amd64.deb
SHA256: aa22

Package: libx-dev
Architecture: amd64
Version: 1.81.0-5+deb12u10
Filename: pool/updates/main/x/x1.81/libx-dev_1.81.0-5+deb12u10_amd64.deb
SHA256: aa10

Package: libx-dev
Architecture: i386
Version: 1.81.0-5+deb12u11
Filename: pool/main/x/x1.81/libx-dev_1.81.0-5+deb12u11_i386.deb
SHA256: bb11

Package: libx-dev
Architecture: amd64
Version: 1:1.82.0-1
Filename: pool/main/x/x1.82/libx-dev_1.82.0-1_amd64.deb
SHA256: aa82
"""

SOURCES = """\
Package: libz
Directory: pool/main/libz/libz
Checksums-Sha1:
 0123 1 libz_1.5.4+dfsg2.orig.tar.xz
Checksums-Sha256:
 cc01 5068 libz_1.5.4+dfsg2-5.dsc
 cc02 1808244 libz_1.5.4+dfsg2.orig.tar.xz
 cc03 17000 libz_1.5.4+dfsg2-5.debian.tar.xz
"""


def compare(a, b):
    """Orders the versions used here by their numbers; the real one is dpkg's."""
    key = lambda version: [int(part) for part in revision.re.findall(r"\d+", version.split(":")[-1])]
    return (key(a) > key(b)) - (key(a) < key(b))


class NewestTest(unittest.TestCase):
    def test_newest_revision_of_the_same_upstream_version_and_architecture(self):
        self.assertEqual(
            revision.newest(PACKAGES, "libx-dev_1.81.0-5+deb12u1_amd64.deb", compare),
            ("pool/updates/main/x/x1.81/libx-dev_1.81.0-5+deb12u10_amd64.deb", "aa10"),
        )

    def test_an_older_revision_is_not_taken(self):
        with self.assertRaisesRegex(revision.NotFound, "no newer revision of upstream version 1.81.0"):
            revision.newest(PACKAGES, "libx-dev_1.81.0-6_amd64.deb", compare)

    def test_another_upstream_version_is_not_taken_and_is_named(self):
        with self.assertRaisesRegex(revision.NotFound, r"1\.80\.0 \(it has .*1:1\.82\.0-1"):
            revision.newest(PACKAGES, "libx-dev_1.80.0-1_amd64.deb", compare)

    def test_the_pinned_file_itself_is_no_answer(self):
        with self.assertRaises(revision.NotFound):
            revision.newest(PACKAGES, "libx-dev_1.81.0-5+deb12u10_amd64.deb", compare)

    def test_an_unknown_package_says_so(self):
        with self.assertRaisesRegex(revision.NotFound, "no version at all"):
            revision.newest("", "libx-dev_1.81.0-5_amd64.deb", compare)

    def test_a_tarball_repacked_again_keeps_its_upstream_version(self):
        for pinned in ("libz_1.5.4+dfsg1.orig.tar.xz", "libz_1.5.4.orig.tar.gz"):
            self.assertEqual(
                revision.newest(SOURCES, pinned, compare),
                ("pool/main/libz/libz/libz_1.5.4+dfsg2.orig.tar.xz", "cc02"),
            )

    def test_a_tarball_of_another_upstream_version_is_not_taken(self):
        with self.assertRaises(revision.NotFound):
            revision.newest(SOURCES, "libz_1.5.3+dfsg2.orig.tar.xz", compare)

    def test_other_kinds_of_files_are_refused(self):
        for file in ("libz.zip", "libz_1.5.4-1.debian.tar.xz", "libz_1.5.4.deb"):
            with self.assertRaises(revision.NotFound):
                revision.parse_name(file)


if __name__ == "__main__":
    unittest.main()
