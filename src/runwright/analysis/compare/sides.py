"""What is compared with what: each side one run, or several that differ only in their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from runwright.analysis.runs.rows import RunRow, as_text, read_row
from runwright.errors import ConfigError
from runwright.runs.folder import find_runs, read_run, resolve_run

BY_NAME = "name:"
UNINTERESTING = ("name", "output_dir", "resume", "tracker.", "launch.")  # of settings: they change no figure
SEEDS = ("seed", "seeds.data", "seeds.init", "seeds.dropout")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Runs that count as one."""

    letter: str
    rows: tuple[RunRow, ...]

    @property
    def label(self) -> str:
        """Who that is, in a few words."""
        names = ", ".join(dict.fromkeys(row.name for row in self.rows))
        ids = " ".join(row.short_id for row in self.rows[:4])
        more = f" and {len(self.rows) - 4} more" if len(self.rows) > 4 else ""
        return f"{names} ({ids}{more})"

    def values(self, figure: str) -> list[float]:
        """The figure of each run that has it."""
        return [row.metrics[figure] for row in self.rows if figure in row.metrics]


def find_sides(references: Sequence[str], *, output_dir: str | Path) -> list[Side]:
    """One side for each reference: a run, several with commas between them, or `name:NAME`."""
    if len(references) > len(ascii_uppercase):
        raise ConfigError(f"given {len(references)} sides, expected at most {len(ascii_uppercase)}")
    sides = []
    for letter, reference in zip(ascii_uppercase, references, strict=False):
        folders = _folders(reference, output_dir)
        rows = [row for folder in folders if (row := read_row(folder))]
        if len(rows) < len(folders):
            raise ConfigError(f"{reference}: given a run whose run.json cannot be read, expected whole ones")
        sides.append(Side(letter=letter, rows=tuple(rows)))
    return sides


def differing_settings(sides: Sequence[Side]) -> dict[str, list[str]]:
    """The settings that are not the same everywhere, with what each side has."""
    settings = [[row.settings for row in side.rows] for side in sides]
    keys = dict.fromkeys(key for side in settings for each in side for key in each)
    found = {}
    for key in keys:
        if key.startswith(UNINTERESTING) and key != "launch.num_processes":
            continue
        values = [[as_text(each[key]) if key in each else "not there" for each in side] for side in settings]
        if len({value for side in values for value in side}) > 1:
            found[key] = [", ".join(dict.fromkeys(side)) for side in values]
    return found


def mixed_settings(side: Side) -> list[str]:
    """Settings other than seeds in which the runs of one side differ: then they are no repetitions."""
    settings = [row.settings for row in side.rows]
    keys = dict.fromkeys(key for each in settings for key in each)
    return [
        key
        for key in keys
        if key not in SEEDS
        and not key.startswith(UNINTERESTING)
        and len({as_text(each.get(key)) for each in settings}) > 1
    ]


def _folders(reference: str, output_dir: str | Path) -> list[Path]:
    if reference.startswith(BY_NAME):
        name = reference.removeprefix(BY_NAME)
        found = [
            folder
            for folder in find_runs(output_dir)
            if folder.parent.name == name and read_run(folder).get("status") == "FINISHED"
        ]
        if not found:
            raise ConfigError(f"{reference}: given no run, expected the name of an experiment that finished")
        return found
    folders = [resolve_run(part, output_dir=output_dir) for part in reference.split(",") if part]
    if len(set(folders)) < len(folders):
        raise ConfigError(f"{reference}: given a run twice, expected distinct ones")
    if not folders:
        raise ConfigError(f"{reference!r}: given no run, expected one")
    return folders
