"""The rules every target of alos is declared with: one place for flags and conventions."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

# Warnings are errors in our own code (never in third_party's).
ALOS_COPTS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
]

def alos_cc_library(name, copts = [], **kwargs):
    """A library of ours: usually one header."""
    cc_library(name = name, copts = ALOS_COPTS + copts, **kwargs)

def alos_cc_binary(name, copts = [], **kwargs):
    """A program of ours."""
    cc_binary(name = name, copts = ALOS_COPTS + copts, **kwargs)

def alos_cc_test(name, size = "small", copts = [], deps = [], **kwargs):
    """A GoogleTest of ours; gtest_main is linked in."""
    cc_test(
        name = name,
        size = size,
        copts = ALOS_COPTS + copts,
        deps = deps + ["@com_google_googletest//:gtest_main"],
        **kwargs
    )

def alos_cc_benchmark(name, copts = [], deps = [], tags = [], **kwargs):
    """A Google Benchmark program `name`, and `name`_smoke, which runs each case once with the tests."""
    cc_binary(
        name = name,
        testonly = True,
        copts = ALOS_COPTS + copts,
        tags = tags + ["benchmark"],
        deps = deps + ["@com_github_google_benchmark//:benchmark_main"],
        **kwargs
    )
    cc_test(
        name = name + "_smoke",
        size = "small",
        args = ["--benchmark_min_time=0.001"],
        copts = ALOS_COPTS + copts,
        tags = tags,
        deps = deps + ["@com_github_google_benchmark//:benchmark_main"],
        **kwargs
    )

def alos_cc_fuzz_test(name, srcs, corpus = [], copts = [], deps = [], **kwargs):
    """A libFuzzer target `name`_fuzzer (--config=fuzz), and a test `name` that replays `corpus`."""
    cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = ["$(locations %s)" % label for label in corpus],
        data = corpus,
        copts = ALOS_COPTS + copts,
        deps = deps + ["@alos//testing/fuzz:replay_main"],
        **kwargs
    )
    cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        srcs = srcs,
        copts = ALOS_COPTS + copts,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual", "fuzz"],
        deps = deps,
        **kwargs
    )
