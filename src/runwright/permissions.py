"""What the user has explicitly permitted on the command line, for this process and its workers.

A configuration cannot grant a permission: only a command-line flag can (or, for worker processes, the
environment that the command line gives them).
"""

from __future__ import annotations

import os

CODE_VARIABLE = "RUNWRIGHT_ALLOW_CODE"

_granted: set[str] = set()


def allow_code() -> None:
    """Permit code that comes with data, metrics or models to run; called by the command line only."""
    _granted.add("code")


def code_allowed() -> bool:
    """Whether code that comes with data, metrics or models may run."""
    return "code" in _granted or os.environ.get(CODE_VARIABLE) == "1"


def worker_environment() -> dict[str, str]:
    """Environment variables that carry the permissions to worker processes."""
    return {CODE_VARIABLE: "1"} if code_allowed() else {}
