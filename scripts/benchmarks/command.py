"""Seconds of commands that must answer at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

COMMANDS = {
    "--help": ["--help"],
    "--cfg job": ["train", "experiment=vader", "--cfg", "job"],
    "validate": ["validate", "experiment=vader"],
    "completion": ["TAB", "runwright train optimizer="],
}


def measure_commands(repeats: int) -> dict[str, list[float]]:
    """Wall seconds of commands that must answer at once."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            line = arguments[1] if arguments[0] == "TAB" else ""  # what the shell's function sets
            tab = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
            environment = os.environ | (tab | {"_ARGCOMPLETE_STDOUT_FILENAME": os.devnull} if line else {})
            command = [sys.executable, "-m", "runwright", *arguments]
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            found[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in found.items()}
