"""The command line: a command is one module with SUMMARY, add_arguments(parser) and execute(args, overrides).

A module is imported only when its command is chosen; it imports what is heavy inside `execute`.
"""
