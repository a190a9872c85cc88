"""Seconds of commands that must answer at once."""

from __future__ import annotations

import subprocess
import sys
import time

COMMANDS = {
    "--help": ["--help"],
    "--cfg job": ["train", "experiment=vader", "--cfg", "job"],
    "validate": ["validate", "experiment=vader"],
    "completion": ["_complete", "runwright train optimizer="],
}


def measure_commands(repeats: int) -> dict[str, list[float]]:
    """Wall seconds of commands that must answer at once."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "runwright", *arguments], check=True, capture_output=True)
            found[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in found.items()}
