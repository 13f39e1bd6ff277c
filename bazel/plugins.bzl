"""alos_with_plugins: a program built with other plugins than the build's own."""

_KINDS = ["cache", "cipher", "codec", "durability", "protocol"]

def _flag(kind):
    return "//plugins:" + kind

def _plugins_transition_impl(settings, attr):
    unknown = [kind for kind in attr.plugins if kind not in _KINDS]
    if unknown:
        fail("%s: no plugins of kind %s; there are: %s" % (attr.name, unknown, _KINDS))
    return {
        _flag(kind): attr.plugins.get(kind, str(settings[_flag(kind)]))
        for kind in _KINDS
    }

_plugins_transition = transition(
    implementation = _plugins_transition_impl,
    inputs = [_flag(kind) for kind in _KINDS],
    outputs = [_flag(kind) for kind in _KINDS],
)

def _alos_with_plugins_impl(ctx):
    # A transition makes a list of the attribute, though it has one element.
    program = ctx.attr.binary[0]
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        target_file = program[DefaultInfo].files_to_run.executable,
        is_executable = True,
    )
    return [DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles(files = [executable]).merge(program[DefaultInfo].default_runfiles),
    )]

_ATTRIBUTES = {
    "binary": attr.label(cfg = _plugins_transition, executable = True, mandatory = True),
    "plugins": attr.string_dict(mandatory = True),
    "_allowlist_function_transition": attr.label(
        default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
    ),
}

_alos_with_plugins = rule(
    implementation = _alos_with_plugins_impl,
    attrs = _ATTRIBUTES,
    executable = True,
)

_alos_with_plugins_test = rule(
    implementation = _alos_with_plugins_impl,
    attrs = _ATTRIBUTES,
    test = True,
)

def alos_with_plugins(name, binary, plugins, **kwargs):
    """The program `binary`, with plugins of other kinds, next to the ordinary one in the same build.

    Args:
      name: of the program this makes.
      binary: the label of a cc_binary that depends on the flags of //plugins.
      plugins: {kind: label}, e.g. {"codec": "//mymonorepo/db:my_codecs"}. Kinds
        that are not named stay as the build has them.
      **kwargs: visibility, testonly, tags …
    """
    _alos_with_plugins(name = name, binary = binary, plugins = _absolute(plugins), **kwargs)

def alos_with_plugins_test(name, binary, plugins, size = "small", **kwargs):
    """As alos_with_plugins, for a `binary` that is a test: runs it with these plugins, too."""
    _alos_with_plugins_test(
        name = name,
        binary = binary,
        plugins = _absolute(plugins),
        size = size,
        **kwargs
    )

def _absolute(plugins):
    package = "//" + native.package_name()
    return {
        kind: package + label if label.startswith(":") else label
        for kind, label in plugins.items()
    }
