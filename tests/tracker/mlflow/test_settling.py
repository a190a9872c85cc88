"""The true end of a run that died reaches MLflow by sync."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from runwright.runs.folder import read_run
from runwright.runs.states import mark_all
from runwright.tracker.mlflow.tracker import sync
from runwright.tracker.mlflow.upload import unsent_bytes

DYING = """
import time
from pathlib import Path
import yaml
from runwright.config.folders import find_conf_folders
from runwright.runs.folder import create, read_run, update_status
from runwright.runs.states import run_lock
from runwright.config.targets import instantiate
from runwright.tracker.mlflow.upload import unsent_bytes
from runwright.types import RunInfo

config = {"name": "demo", "output_dir": OUTPUTS}
folder = create(config, overrides=[], command=[])
with run_lock(folder):
    node = yaml.safe_load((find_conf_folders().shipped / "tracker" / "mlflow.yaml").read_text())
    node |= {"policy": "fail", "start_timeout_seconds": 30, "upload_every_seconds": 0.05}
    node["system_every_seconds"] = None
    tracker = instantiate(node, group="tracker", key="tracker")
    run_id = read_run(folder)["run_id"]
    tracker.start(RunInfo(run_id=run_id, name="demo", folder=folder, config=config, overrides=()))
    update_status(folder, "RUNNING")
    tracker.log_metrics({"loss": 1.0}, step=1)
    # Sent, and written down that it was: a kill between the two sends it again.
    while not (lacking := unsent_bytes(folder)) or sum(lacking.values()):
        time.sleep(0.01)
    Path(OUTPUTS, "sent").touch()
    time.sleep(600)
"""
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def dead(store_there: None, context: ForkServerContext, tmp_path: Path) -> Path:
    """The folder of a run whose process was killed when MLflow had all of it."""
    outputs, script = tmp_path / "outputs", tmp_path / "dying.py"
    script.write_text(DYING)
    process = context.Process(
        target=runpy.run_path,  # type: ignore[arg-type]
        args=(str(script), {"OUTPUTS": str(outputs)}, "__main__"),
    )
    process.start()
    while not (outputs / "sent").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    (outputs / "sent").unlink()
    (folder,) = (outputs / "demo").iterdir()
    return folder


def test_sync_tells_mlflow_and_nothing_is_twice(dead: Path, query: Query) -> None:
    assert query("SELECT status, end_time FROM runs") == [("RUNNING", None)]
    (death,) = mark_all(dead.parents[1])
    assert sum(unsent_bytes(dead).values()) > 0
    assert sync(dead) == 2  # a tag, a status
    assert sync(dead) == 0
    assert query("SELECT status, end_time FROM runs") == [("KILLED", round(death.last_sign * 1000))]
    assert query("SELECT value FROM tags WHERE key = 'runwright.ended'") == [(death.reason,)]
    assert sum(unsent_bytes(dead).values()) == 0
    assert read_run(dead)["reason"] == death.reason
    assert query("SELECT key, step, value FROM metrics") == [("loss", 1, 1.0)]
