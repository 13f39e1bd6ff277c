"""The rules every target of alos is declared with: one place for flags and conventions.

alos_cc_library     one header, usually; each header is also compiled alone (see below)
alos_cc_test        GoogleTest, `x_test.cc` beside `x.h`
alos_cc_benchmark   Google Benchmark, and a test that runs each case once so that it cannot rot
alos_cc_fuzz_test   a test that replays the corpus, and a libFuzzer program of the same source
alos_cc_binary      a program

They are for alos's own code; a project that builds on alos uses its own rules
with `deps = ["@alos//alos"]`.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

# Warnings are errors in our own code (never in third_party's).
ALOS_COPTS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
]

# Label() so that the macros work in the workspace of another name, too.
_OPT_WITH_LTO = str(Label("//bazel:opt_with_lto"))
_SANITIZER_OPTIONS = str(Label("//bazel:sanitizer_options"))
_REPLAY_MAIN = str(Label("//testing/fuzz:replay_main"))

def _copts(copts):
    return ALOS_COPTS + copts + select({
        _OPT_WITH_LTO: ["-flto"],
        "//conditions:default": [],
    })

def _linkopts(linkopts):
    # -flto=2: at most two jobs for the one program, since Bazel links several at once. __cpu_model, what
    # __builtin_cpu_supports reads: gold does not look into libgcc.a again for what LTO comes to need.
    return linkopts + select({
        _OPT_WITH_LTO: ["-flto=2", "-O2", "-Wl,-u,__cpu_model"],
        "//conditions:default": [],
    })

def _is_header(src):
    return src.endswith(".h") and not src.startswith(("//", "@", ":"))

def alos_cc_library(name, hdrs = [], copts = [], tags = [], testonly = None, **kwargs):
    """A library of ours: usually one header.

    Each header of `hdrs` is also compiled as the first and only include of a
    file of its own, `name`_alone_N: tagged header_check and manual, built by
    .ci/run. (Bazel's features for that, parse_headers and layering_check, need
    a newer Bazel and Clang.)
    """
    cc_library(
        name = name,
        hdrs = hdrs,
        copts = _copts(copts),
        tags = tags,
        testonly = testonly,
        **kwargs
    )
    for number, header in enumerate([h for h in hdrs if _is_header(h)]):
        alone = "%s_alone_%d" % (name, number)
        include = "/".join([part for part in [native.package_name(), header] if part])
        native.genrule(
            name = alone + "_source",
            testonly = testonly,
            outs = [alone + ".cc"],
            # Twice: the include guard has to hold.
            cmd = "printf '#include \"%s\"\\n#include \"%s\"\\n' > $@" % (include, include),
            tags = ["manual"],
            visibility = ["//visibility:private"],
        )
        cc_library(
            name = alone,
            testonly = testonly,
            srcs = [alone + ".cc"],
            copts = ALOS_COPTS + copts,
            linkstatic = True,
            tags = ["manual", "header_check"],
            visibility = ["//visibility:private"],
            deps = [":" + name],
        )

def alos_cc_binary(name, copts = [], linkopts = [], deps = [], **kwargs):
    """A program of ours."""
    cc_binary(
        name = name,
        copts = _copts(copts),
        linkopts = _linkopts(linkopts),
        deps = deps + [_SANITIZER_OPTIONS],
        **kwargs
    )

def alos_cc_test(name, size = "small", copts = [], linkopts = [], deps = [], **kwargs):
    """A GoogleTest of ours; gtest_main is linked in."""
    cc_test(
        name = name,
        size = size,
        copts = _copts(copts),
        linkopts = _linkopts(linkopts),
        deps = deps + ["@com_google_googletest//:gtest_main", _SANITIZER_OPTIONS],
        **kwargs
    )

def alos_cc_benchmark(name, copts = [], linkopts = [], deps = [], tags = [], smoke_args = [], **kwargs):
    """A Google Benchmark program `name`, and `name`_smoke, which runs each case once with the tests.

    `smoke_args`: more arguments of the smoke run, such as a filter that leaves out the large cases.
    """
    cc_binary(
        name = name,
        testonly = True,
        copts = _copts(copts),
        linkopts = _linkopts(linkopts),
        tags = tags + ["benchmark"],
        deps = deps + ["@com_github_google_benchmark//:benchmark_main", _SANITIZER_OPTIONS],
        **kwargs
    )
    native.sh_test(
        name = name + "_smoke",
        size = "small",
        srcs = [name],
        args = ["--benchmark_min_time=0.001"] + smoke_args,
        tags = tags,
    )

def alos_cc_fuzz_test(name, srcs, corpus = [], copts = [], linkopts = [], deps = [], **kwargs):
    """A libFuzzer program `name`_fuzzer (--config=fuzz), and a test `name` that replays `corpus`."""
    cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = ["$(locations %s)" % label for label in corpus],
        data = corpus,
        copts = _copts(copts),
        linkopts = _linkopts(linkopts),
        deps = deps + [_REPLAY_MAIN, _SANITIZER_OPTIONS],
        **kwargs
    )
    cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        srcs = srcs,
        copts = ALOS_COPTS + copts,
        linkopts = linkopts + ["-fsanitize=fuzzer"],
        tags = ["manual", "fuzz"],
        deps = deps,
        **kwargs
    )
