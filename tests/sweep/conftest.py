"""A small Hydra application that is not Runwright, under the sweeper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

APPLICATION = """
import math, os, signal, sys, time
import hydra
from runwright.sweep.trial import report, should_prune

@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config):
    import optuna
    with open("begun.txt", "a") as file:
        file.write(f"{config.seed} {config.x} {config.y} {os.environ.get('RUNWRIGHT_SLOT')} {time.time()}\\n")
    value = (config.x - 3) ** 2
    for step in range(config.steps):
        report(step, value + config.steps - step)
        if should_prune():
            raise optuna.TrialPruned
        time.sleep(config.wait)
    with open("begun.txt", "a") as file:
        file.write(f"end {config.x} {config.y} {os.environ.get('RUNWRIGHT_SLOT')} {time.time()}\\n")
    if config.y == "raise":
        raise RuntimeError("the trial's own")
    if config.y == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"not_a_number": math.nan, "nothing": None, "mapping": {"value": value}}.get(config.y, value)

if __name__ == "__main__":
    main()
"""

Sweep = Callable[..., list[str]]


@pytest.fixture
def app(tmp_path: Path) -> Sweep:
    """The command that sweeps the application in a folder; its study is `study/` there."""
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "config.yaml").write_text("x: 1.0\ny: ok\nsteps: 1\nwait: 0\nseed: 5\n")

    def command(*overrides: str) -> list[str]:
        fixed = ["hydra/sweeper=runwright", f"hydra.sweep.dir={tmp_path}/study", "hydra.job.chdir=false"]
        return [sys.executable, "app.py", "-m", *fixed, *overrides]

    return command


@pytest.fixture
def sweep(app: Sweep, tmp_path: Path) -> Callable[..., str]:
    """Runs a sweep to its end; gives what it printed."""

    def run(*overrides: str, ok: bool = True) -> str:
        done = subprocess.run(app(*overrides), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
