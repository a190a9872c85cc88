"""One module for each command: SUMMARY, add_arguments(parser), execute(args, overrides) -> exit code.

A module is imported only when its command is chosen; it imports what is heavy inside `execute`.
"""
