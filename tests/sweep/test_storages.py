"""A study that drivers share through a database or a proxy of Optuna's, and a grid under submitit."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.sweep.options import SweeperConf
from runwright.sweep.study import open_study

RunSweep = Callable[..., str]
Command = Callable[..., list[str]]
SPEC = importlib.util.spec_from_file_location(
    "tracker_conftest", Path(__file__).parents[1] / "tracker" / "conftest.py"
)
assert SPEC is not None and SPEC.loader is not None  # noqa: PT018
TRACKER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TRACKER)
postgresql, new_database = TRACKER.postgresql, TRACKER.new_database


def run_two_drivers(app: Command, folder: Path, storage: str) -> Counter[str]:
    """States of all trials of two drivers, with two further seeds of the best three."""
    options = ["x=interval(0,9)", "wait=0.5", "hydra.sweeper.n_trials=20", "hydra.sweeper.n_jobs=2"]
    options += [
        f"hydra.sweeper.storage='{storage}'",
        "hydra.sweeper.study_name=shared",
        "hydra.sweeper.seeds=3",
    ]
    drivers = [
        subprocess.Popen(app(*options, f"hydra.sweep.dir={folder}/{name}"), cwd=folder) for name in ("a", "b")
    ]
    assert [driver.wait() for driver in drivers] == [0, 0]
    study = open_study(SweeperConf(study_name="shared", storage=storage))
    trials, database = study.trials, getattr(study._storage, "_backend", None)
    if database is not None:
        database.engine.dispose()
    whole = [trial for trial in trials if "refused" not in trial.user_attrs]
    seeds = [str(trial.user_attrs["repeats"]) for trial in whole if "repeats" in trial.user_attrs]
    assert len(seeds) == len({*seeds}) == 6  # each seed of the three best once
    assert len({str(trial.params) for trial in whole}) == 20
    assert len({(trial.user_attrs["driver"]["pid"]) for trial in whole}) == 2
    return Counter(trial.state.name for trial in whole)


@pytest.mark.slow
def test_two_drivers_share_a_study_in_postgresql(app: Command, tmp_path: Path, new_database: Any) -> None:
    assert run_two_drivers(app, tmp_path, new_database.uri) == {"COMPLETE": 26}


@pytest.mark.slow
def test_two_drivers_share_a_study_through_the_proxy_of_optuna(app: Command, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    code = f"""
import optuna
from runwright.sweep.study import open_storage
storage = open_storage({str(tmp_path / "journal")!r})
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port={port})
"""
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        assert run_two_drivers(app, tmp_path, f"grpc://127.0.0.1:{port}") == {"COMPLETE": 26}
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_a_grid_is_the_same_under_the_launcher_submitit(sweep: RunSweep, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    grid = ["x=1,2", "y=a,b", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_jobs=2"]
    sets = []
    for launcher in ("basic", "submitit_local"):
        sweep(*grid, f"hydra/launcher={launcher}")
        journal = tmp_path / "study" / "study.journal"
        trials = open_study(SweeperConf(study_name="study", storage=str(journal))).trials
        assert {trial.state.name for trial in trials} == {"COMPLETE"}
        sets.append(sorted(str(trial.params) for trial in trials))
        journal.unlink()
    assert sets[0] == sets[1]
    assert len(sets[0]) == 4
