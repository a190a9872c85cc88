"""The command line: a command is one module with EXAMPLES, add_arguments(parser) and execute(args).

A command whose USAGE has `key=value` gets the overrides as `args.overrides`; the others refuse them.
"""
