"""The command line: a command is one module with EXAMPLES, add_arguments(parser) and execute(args).

A command whose USAGE has `key=value` takes overrides, as `args.overrides`, and the flags for permissions; the
others refuse overrides.
"""
