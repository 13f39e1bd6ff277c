"""alos_cc_compile_fail_test: that a mistake is refused by the compiler, and with which words."""

def _alos_cc_compile_fail_test_impl(ctx):
    toolchain = ctx.attr._cc_toolchain[cc_common.CcToolchainInfo]
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    context = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps],
    ).compilation_context
    variables = cc_common.create_compile_variables(
        cc_toolchain = toolchain,
        feature_configuration = features,
        source_file = ctx.file.src.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts +
                             ["-fsyntax-only", "-fmax-errors=5"],
        include_directories = context.includes,
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
        preprocessor_defines = context.defines,
    )
    action = "c++-compile"
    compiler = cc_common.get_tool_for_action(
        feature_configuration = features,
        action_name = action,
    )
    flags = cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = action,
        variables = variables,
    )
    environment = cc_common.get_environment_variables(
        feature_configuration = features,
        action_name = action,
        variables = variables,
    )
    said = ctx.actions.declare_file(ctx.label.name + ".stderr")
    ctx.actions.run_shell(
        outputs = [said],
        inputs = depset([ctx.file.src], transitive = [context.headers, toolchain.all_files]),
        env = environment,
        # A success is written down, too: it is the test that fails, not the build.
        command = "out=$1; shift; if \"$@\" 2> \"$out\"; then echo 'IT COMPILES' >> \"$out\"; fi",
        arguments = [said.path, compiler] + flags,
        mnemonic = "CompileFail",
        progress_message = "Compiling %s, which must fail" % ctx.file.src.short_path,
    )
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(
        script,
        """#!/bin/sh
# Passes if the compiler's first error is the expected one, and the only one.
said='%s'
grep -q 'IT COMPILES' "$said" && { echo 'It compiles, but must not.'; exit 1; }
errors=$(grep -c 'error: ' "$said")
if ! grep 'error: ' "$said" | head -n 1 | grep -qF -e '%s'; then
  echo 'The first error is not the expected one. The compiler said:'; cat "$said"; exit 1
fi
if [ "$errors" != 1 ]; then
  echo "There are $errors errors instead of 1. The compiler said:"; cat "$said"; exit 1
fi
""" % (said.short_path, ctx.attr.error.replace("'", "'\\''")),
        is_executable = True,
    )
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(files = [said]))]

_alos_cc_compile_fail_test = rule(
    implementation = _alos_cc_compile_fail_test_impl,
    attrs = {
        "src": attr.label(allow_single_file = [".cc"], mandatory = True),
        "deps": attr.label_list(providers = [CcInfo]),
        "error": attr.string(mandatory = True),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    test = True,
)

def alos_cc_compile_fail_test(name, src, error, deps = [], **kwargs):
    """Passes if `src` does not compile and the one error the compiler reports contains `error`."""
    _alos_cc_compile_fail_test(name = name, src = src, error = error, deps = deps, size = "small", **kwargs)
