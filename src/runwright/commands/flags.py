"""Flags that several commands share."""

from __future__ import annotations

import argparse


def add_permission_flags(parser: argparse.ArgumentParser) -> None:
    """What only a user, never a configuration, may allow."""
    group = parser.add_argument_group("permissions")
    group.add_argument(
        "--allow-package",
        metavar="NAME",
        action="append",
        default=[],
        help="a configuration may name classes and functions of this package of yours (may be repeated; "
        "always: packages in [tool.runwright] of ./pyproject.toml)",
    )
    group.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="code that comes with a model, data set or metric may run; recorded with the run",
    )
    group.add_argument(
        "--allow-shadow",
        action="store_true",
        help="a file in ./conf may replace a shipped one of the same name",
    )


def add_delimited_flags(parser: argparse.ArgumentParser, *, of: str = "") -> None:
    """How the fields of csv and tsv are told apart."""
    parser.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        help=f"{of}of csv and tsv, or its name, as semicolon; default: as in training, else comma and tab",
    )
    parser.add_argument(
        "--quote",
        metavar="CHARACTER",
        help=f"{of}of csv and tsv; null: quotes are ordinary characters; default: as in training where that "
        'was csv with this delimiter, else " for csv and null for tsv',
    )


def grant_permissions(args: argparse.Namespace) -> None:
    """Allow what the flags say, in this process."""
    from runwright.permissions import grant

    grant(
        packages=args.allow_package,
        trust_remote_code=args.trust_remote_code,
        changed_data=getattr(args, "allow_changed_data", False),  # train's
    )
