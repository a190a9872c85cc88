"""The user's own experiment, made short: so many steps, small evaluations, a folder of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "verify"
SAVE_EVERY, EVALUATE_EVERY = 3, 7  # steps; no multiples of each other, so that every order of events comes up
TRAINER = {
    "max_epochs": None,
    "max_minutes": None,
    "log_every_steps": 1,
    "evaluate_every_epochs": None,
    "evaluate_every_steps": EVALUATE_EVERY,
    "save_every_epochs": None,
    "save_every_steps": SAVE_EVERY,
    "keep_checkpoints": 2,
    "early_stopping_patience": None,
}
TRACKER = {
    "_target_": "runwright.tracker.console.ConsoleTracker",
    "interval_seconds": 5.0,
    "system_every_seconds": None,
}


def shorten(
    config: Mapping[str, Any],
    *,
    num_steps: int,
    num_rows: int,
    split_sizes: Mapping[str, int],
    output_dir: Path,
) -> dict[str, Any]:
    """A run of so many steps with the same data, model and updates.

    The training split stays whole, so that the task learns the same classes and the prepared data is found
    in the cache; other splits keep at most `num_rows` rows where the data set can be told so.
    """
    short = copy.deepcopy(dict(config))
    short |= {"name": NAME, "output_dir": str(output_dir), "resume": None, "references": {}}
    short["tracker"] = TRACKER
    short["trainer"] |= {**TRAINER, "max_steps": num_steps}
    short["launch"]["max_restarts"] = 0
    if isinstance(short["dataset"].get("subset"), dict):
        large = [split for split, size in split_sizes.items() if split != "train" and size > num_rows]
        short["dataset"]["subset"] |= dict.fromkeys(large, num_rows)
    return short
