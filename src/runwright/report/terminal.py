"""The one console that the log and the progress bars share, so that neither tears the other."""

from __future__ import annotations

from functools import cache

from rich.console import Console


@cache
def console() -> Console:
    """Where people look while a run goes on: standard error; results go to standard output."""
    return Console(stderr=True, highlight=False)
