"""A test that runs a program in an empty directory and compares what it prints with a file."""

def alos_run_test(name, program, expected_output):
    native.sh_test(
        name = name,
        size = "small",
        srcs = [str(Label("//bazel:run_test.sh"))],
        args = ["$(location %s)" % program, "$(location %s)" % expected_output],
        data = [program, expected_output],
    )
