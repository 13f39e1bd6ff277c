"""Every third-party repository alos builds with: pinned, checksummed, overridable.

A workspace that already defines one of these names before it calls
`alos_dependencies()` keeps its own (Bazel's `maybe`). third_party/README.md
says in one line each why a dependency was chosen and what its licence is.
"""

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load("//third_party:debian.bzl", "bundled_repository", "debian_archive")

def alos_dependencies():
    """Declares the repositories that alos and its tests build with."""

    # Bazel 4 ships without these four rule sets; later versions bring their own.
    if native.bazel_version == "" or native.bazel_version.startswith("4."):
        for name in ["rules_cc", "rules_java", "rules_proto", "remote_coverage_tools"]:
            maybe(
                bundled_repository,
                name = name,
                workspace_file = Label("//third_party/shims/%s:WORKSPACE" % name),
            )
    maybe(
        debian_archive,
        name = "bazel_skylib",
        files = {"bazel-skylib/bazel-skylib_1.0.3.orig.tar.xz": "b22f0f38d9a1ac565fce8a43df3d284f6b8e5e8775bda54b5cb687bed46b6ea4"},
        strip_prefix = "bazel-skylib-1.0.3",
    )
    maybe(
        debian_archive,
        name = "com_google_absl",
        files = {"abseil/abseil_20220623.1.orig.tar.gz": "abfe2897f3a30edaa74bc34365afe3c2a3cd012091a97dc7e008f7016adcd5fe"},
        patches = [
            Label("//third_party/abseil:exceptions.patch"),
            Label("//third_party/abseil:platforms.patch"),
        ],
        strip_prefix = "abseil-20220623.1",
    )
    maybe(
        debian_archive,
        name = "com_google_googletest",
        files = {"googletest/googletest_1.12.1.orig.tar.gz": "81964fe578e9bd7c94dfdb09c8e4d6e6759e19967e397dbea48d1c10e45d0df2"},
        strip_prefix = "googletest-release-1.12.1",
    )
    maybe(
        debian_archive,
        name = "com_github_google_benchmark",
        files = {"benchmark/benchmark_1.7.1.orig.tar.gz": "6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7"},
        patches = [Label("//third_party/benchmark:libpfm.patch")],
        strip_prefix = "benchmark-1.7.1",
    )
    maybe(
        debian_archive,
        name = "boringssl",
        files = {"android-platform-external-boringssl/android-platform-external-boringssl_13.0.0+r24.orig.tar.xz": "583b7aeee1fca68b8244d086cea6fca23bd19d517bd63f0b9de714e048f92a7d"},
        # -Werror: GCC 12 with -O2 and fortified string functions warns where nothing is wrong.
        patches = [Label("//third_party/boringssl:warnings.patch")],
        remove = ["src/rust"],
        strip_prefix = "android-platform-external-boringssl-13.0.0+r24",
    )
    maybe(
        debian_archive,
        name = "com_googlesource_code_re2",
        build_file = Label("//third_party/re2:re2.BUILD"),
        files = {
            "re2/re2_20220601+dfsg.orig.tar.xz": "3bc61251da3b0b97be40a8a127818c517c62516e4eda11fc901d29496663df54",
            # The +dfsg tarball lacks the generated tables; they are made from this.
            "unicode-data/unicode-data_15.0.0-1_all.deb": "5efef23bbb1c6a133ecbdd63a2cfa07159ccacf5466a49e2426101c5ecd691fc",
        },
        patches = [
            Label("//third_party/re2:unicode.patch"),
            # prefilter.h without macros named CHECK and LOG.
            Label("//third_party/re2:prefilter.patch"),
        ],
        strip_prefix = "re2-2022-06-01",
    )
    maybe(
        debian_archive,
        name = "lz4",
        build_file = Label("//third_party/lz4:lz4.BUILD"),
        files = {"lz4/lz4_1.9.4.orig.tar.gz": "0b0e3aa07c8c063ddf40b082bdf7e37a1562bda40a0ff5272957f3e987e0e54b"},
        strip_prefix = "lz4-1.9.4",
    )
    maybe(
        debian_archive,
        name = "zstd",
        build_file = Label("//third_party/zstd:zstd.BUILD"),
        files = {"libzstd/libzstd_1.5.4+dfsg2.orig.tar.xz": "8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953"},
        strip_prefix = "zstd-1.5.4",
    )
    maybe(
        debian_archive,
        name = "xxhash",
        build_file = Label("//third_party/xxhash:xxhash.BUILD"),
        files = {"xxhash/xxhash_0.8.1.orig.tar.gz": "3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c"},
        strip_prefix = "xxHash-0.8.1",
    )
    maybe(
        debian_archive,
        name = "utf8proc",
        build_file = Label("//third_party/utf8proc:utf8proc.BUILD"),
        files = {"utf8proc/utf8proc_2.8.0.orig.tar.gz": "a0a60a79fe6f6d54e7d411facbfcc867a6e198608f2cd992490e46f04b1bcecc"},
        strip_prefix = "utf8proc-2.8.0",
    )
    maybe(
        debian_archive,
        name = "croaring",
        build_file = Label("//third_party/croaring:croaring.BUILD"),
        files = {"croaring/croaring_0.2.66+ds.orig.tar.xz": "895354a08c6142643c193f3b31b079884796640b65c7a54094069b3b98feda3c"},
        strip_prefix = "CRoaring-0.2.66",
    )
    maybe(
        debian_archive,
        name = "simdjson",
        build_file = "@alos//third_party/simdjson:simdjson.BUILD",
        files = {"simdjson/simdjson_3.0.1.orig.tar.gz": "156b1bc5eb0561b2bd166b46d191fd3d95a3e709cc63761477d3b7aec2b6e9ed"},
        strip_prefix = "simdjson-3.0.1",
    )
    maybe(
        debian_archive,
        name = "liburing",
        build_file = Label("//third_party/liburing:liburing.BUILD"),
        files = {"liburing/liburing_2.3.orig.tar.gz": "2eac26f880125d83f75ba8641fde5d88226dd352d3cee95d45a9128758a8f1be"},
        strip_prefix = "liburing-2.3",
    )
    maybe(
        debian_archive,
        name = "msgpack",
        build_file = Label("//third_party/msgpack:msgpack.BUILD"),
        files = {"msgpack-cxx/libmsgpack-cxx-dev_4.1.3-1_amd64.deb": "9adc2f26df4710f396239434f6cce90a718d75a3b38289957bb89b031748d8a1"},
    )
    maybe(
        debian_archive,
        name = "relacy",
        build_file = Label("//third_party/relacy:relacy.BUILD"),
        files = {"relacy/relacy-dev_0.0+git20191025.acc09bb-2_all.deb": "18997d285cd3fdf4cdad995fe4ae151edaf38e970254ae6a2a2ecb45d8463083"},
        # Without its replacements of the global operators new and delete.
        patches = [Label("//third_party/relacy:operators.patch")],
    )
    maybe(
        debian_archive,
        name = "boost",
        build_file = Label("//third_party/boost:boost.BUILD"),
        files = {"boost1.81/libboost1.81-dev_1.81.0-5+deb12u1_amd64.deb": "bfe6d942c9fa4d68c8455e712a16fe3911f85d92959a0753cb22e5c13c2067de"},
    )
