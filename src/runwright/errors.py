"""Every error that Runwright raises on purpose.

RunwrightError            shown without a traceback; `exit_code` is the process's
├── ConfigError           what the configuration says cannot work; nothing was loaded (exit 2)
├── DataError             a file, split, row or column is not what was expected (exit 3)
├── CheckpointError       a checkpoint cannot be read, written or used here (exit 4)
└── TrackingError         the tracker refuses and its policy is to fail (exit 5)

A message says what was given, what was expected and what to change.
"""

from __future__ import annotations


class RunwrightError(Exception):
    """A mistake that a user can mend; its message is the whole explanation."""

    exit_code: int = 1


class ConfigError(RunwrightError):
    """The configuration cannot work; `mistakes` holds one line for each reason."""

    exit_code: int = 2

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class DataError(RunwrightError):
    """Data is not what was expected; the message names what is known of its place.

    `row` counts from 0 in the file, or in the split of a hub; without a file, in the split as loaded. `line`
    counts from 1. What a task raises may have the row's place among those that it was given: it is found.
    """

    exit_code: int = 3

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        split: str | None = None,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        places = {"file": file, "line": line, "split": split, "row": row, "column": column}
        where = ", ".join(f"{name} {value!r}" for name, value in places.items() if value is not None)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.problem = problem
        self.file, self.line, self.split, self.row, self.column = file, line, split, row, column


class CheckpointError(RunwrightError):
    """A checkpoint cannot be written, is damaged, or belongs to another run."""

    exit_code: int = 4


class TrackingError(RunwrightError):
    """The tracker does not answer or refuses, and its policy is to fail."""

    exit_code: int = 5
