"""`runwright validate`: every mistake in a configuration, before anything is loaded."""

from __future__ import annotations

import argparse

from runwright.commands.flags import add_permission_flags, grant_permissions

SUMMARY = "Check a configuration: every key, type, range and combination, in under a second."
EXAMPLES = """examples:
  runwright validate  the defaults
  runwright validate experiment=vader optimizer.lr=1e-4
  runwright validate --deep experiment=vader
      # imports every target and reads the data as well

All mistakes are shown at once (beyond nine, a count). Exit code 0: right; 2:
not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.usage = "runwright validate [options] [group=option] [key=value]"
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--deep",
        action="store_true",
        help="import and bind every target to its real signature and read the data (seconds)",
    )
    add_permission_flags(parser)


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Check and say what was chosen."""
    grant_permissions(args)
    from runwright.compose import compose_checked

    composed = compose_checked(overrides, allow_shadow=args.allow_shadow)
    if args.deep:
        from runwright.commands.deep_check import check_deeply

        for line in check_deeply(composed.config):
            print(line)
    from runwright.compose import summarize

    print(f"right: {summarize(composed)}")
    if not args.deep:
        print("columns are checked when the data is read: runwright validate --deep reads it now")
    return 0
