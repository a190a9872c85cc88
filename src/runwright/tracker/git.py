"""Calls of the git command that fetch nothing, wait for no lock and end in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT_SECONDS = 10  # for each answer
# No transports: an object that a partial clone lacks is fetched by commands that its configuration names.
# GIT_NO_LAZY_FETCH says the same to git 2.44 and later.
_NO_FETCH = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}


class GitError(Exception):
    """Git gave no answer; the text is its reason."""


class Git:
    """The git command in a folder; `settings` are added to its configuration as `key=value`."""

    def __init__(
        self, folder: Path, *, settings: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self.settings = folder, settings
        self._environment = {**(os.environ if environment is None else environment), **_NO_FETCH}

    def ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of the command; raises GitError where it fails."""
        # Locks are optional: a run that only looks must not disturb a commit in progress.
        options = ["--no-optional-locks", "-C", str(self._folder)]
        options += [word for setting in ("core.fsmonitor=false", *self.settings) for word in ("-c", setting)]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                ["git", *options, *arguments],  # noqa: S607 - found as every other tool of the user's
                input=stdin,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {arguments[0]} took more than {TIMEOUT_SECONDS} seconds") from error
        except OSError as error:
            raise GitError(str(error)) from error
        if done.returncode != 0:
            reason = ascii(done.stderr.decode(errors="replace").partition("\n")[0])[1:-1]
            raise GitError(reason or f"git {arguments[0]} ended with {done.returncode}")
        return done.stdout

    def ask_line(self, *arguments: str, stdin: bytes = b"") -> str:
        """The one line of an answer; empty where there is none."""
        return os.fsdecode(self.ask(*arguments, stdin=stdin)).removesuffix("\n")

    def ask_fields(self, *arguments: str, stdin: bytes = b"") -> list[str]:
        """Fields of an answer that each end with a zero byte."""
        return [os.fsdecode(field) for field in self.ask(*arguments, stdin=stdin).split(b"\0")[:-1]]
