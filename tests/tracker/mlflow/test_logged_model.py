"""The best model in MLflow: described, sent once; test_registry.py loads one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import runwright
from runwright.errors import ConfigError
from runwright.store import write_json
from runwright.tracker.journal import read
from runwright.tracker.mlflow.tracker import MLflowTracker, connected, find_alias, register, sync
from runwright.tracker.mlflow.upload import STATE_NAME, read_state
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]
Query = Callable[[str], list[tuple[Any, ...]]]
SOURCES = Path(runwright.__file__).parent
MODELS = "SELECT model_id, status FROM logged_models"
VERSIONS = "SELECT version, run_id FROM model_versions ORDER BY version"

pytestmark = pytest.mark.usefixtures("store_there")


@pytest.fixture
def make_best() -> Callable[[Path], None]:
    """The files of a best model in a run's folder; nothing here reads them."""

    def make(folder: Path) -> None:
        (folder / "best").mkdir(parents=True)
        (folder / "best" / "model.safetensors").write_bytes(b"weights")
        for name in ("best/config.json", "config.yaml", "task.json"):
            (folder / name).write_text("{}")

    return make


def about(problem: str = "single_label", **changed: Any) -> dict[str, Any]:
    settings = {"problem": problem, "text_columns": ["text"], "step": 7, "example": [{"text": "good film"}]}
    return settings | changed


def log(tracker: MLflowTracker, run: RunInfo, settings: dict[str, Any]) -> None:
    tracker.start(run)
    tracker.log_model(run.folder / "best", about=settings)
    tracker.finish("FINISHED")


def test_a_model_is_described_and_holds_neither_a_pickle_nor_a_path(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, query: Query, tmp_path: Path
) -> None:
    run = make_run()
    make_best(run.folder)
    log(make_tracker(), run, about())
    ((model_id, status),) = query(MODELS)
    assert status == 2  # READY
    artifacts = tmp_path / "outputs" / "mlartifacts"
    assert len(list(artifacts.rglob("model.safetensors"))) == 1
    kept = {path.name for path in artifacts.rglob("*") if path.is_file()}
    assert kept >= {"model.safetensors", "config.yaml", "task.json"}
    assert not {Path(name).suffix for name in kept} & {".pkl", ".pickle", ".bin", ".pt", ".joblib"}
    contents = b"".join(path.read_bytes() for path in artifacts.rglob("*") if path.is_file())
    assert not any(str(folder).encode() in contents for folder in (tmp_path, SOURCES))
    assert not list(run.folder.glob(".mlflow-model*"))
    assert query("SELECT destination_id, step FROM inputs WHERE destination_type = 'MODEL_OUTPUT'") == [
        (model_id, 7)
    ]
    signature = yaml.safe_load(next(artifacts.rglob("MLmodel")).read_text())["signature"]
    assert json.loads(signature["inputs"]) == [{"type": "string", "required": True}]
    shown = json.loads(next(artifacts.rglob("serving_input_example.json")).read_text())
    assert shown == {"dataframe_split": {"columns": ["text"], "data": [["good film"]]}}


def test_a_model_of_words_has_lists_in_signature_and_example(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, tmp_path: Path
) -> None:
    run = make_run()
    make_best(run.folder)
    example = [{"words": ["good", "film"]}]
    log(make_tracker(), run, about("tags", text_columns=["words"], example=example))
    artifacts = tmp_path / "outputs" / "mlartifacts"
    described = yaml.safe_load(next(artifacts.rglob("MLmodel")).read_text())
    assert json.loads(described["signature"]["inputs"]) == [
        {"type": "array", "items": {"type": "string"}, "required": True}
    ]
    shown = json.loads(next(artifacts.rglob("serving_input_example.json")).read_text())
    assert shown == {"dataframe_split": {"columns": ["words"], "data": [[["good", "film"]]]}}


def test_sending_again_makes_no_second_model_or_version(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, query: Query, tmp_path: Path
) -> None:
    run = make_run()
    make_best(run.folder)
    log(make_tracker(), run, about())
    with connected(run.folder, uri=None, output_dir=None) as uploader:
        assert register(uploader, "demo", alias="best") == register(uploader, "demo", alias="best") == "1"
    before = query(MODELS), query(VERSIONS)
    for key, state in (states := read_state(run.folder)).items():
        if key != "run":
            state["offset"] = 0
    write_json(run.folder / STATE_NAME, states)
    assert sync(run.folder) == 3
    assert (query(MODELS), query(VERSIONS)) == before
    assert len(before[0]) == len(before[1]) == 1
    assert len(list((tmp_path / "outputs" / "mlartifacts").rglob("model.safetensors"))) == 1


def test_a_typo_of_a_registered_name_is_no_new_model(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any
) -> None:
    run = make_run()
    make_best(run.folder)
    log(make_tracker(), run, about())
    with connected(run.folder, uri=None, output_dir=None) as uploader:
        assert find_alias(uploader, "reviews", "best") is None  # no model is registered yet
        register(uploader, "reviews", alias="best")
        assert find_alias(uploader, "reviews", "best") == run.run_id
        assert find_alias(uploader, "reviews", "other") is None
        assert find_alias(uploader, "emotion", "best") is None
        with pytest.raises(ConfigError, match=r"given 'reviewz', .* did you mean 'reviews'"):
            find_alias(uploader, "reviewz", "best")


@pytest.mark.slow
def test_a_server_that_was_down_gets_the_model_from_sync(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, server: Any
) -> None:
    run = make_run()
    make_best(run.folder)
    log(make_tracker(uri=server.uri, finish_timeout_seconds=5.0), run, about())
    assert [record["model"] for record, _ in read(run.folder / "journal.jsonl") if "model" in record] == [
        "best"
    ]
    server.start()
    assert sync(run.folder) == 3
    assert sync(run.folder) == 0
    stored = server.database.parent / "server-artifacts"
    assert len(list(stored.rglob("model.safetensors"))) == 1
    connection = sqlite3.connect(server.database)
    assert connection.execute("SELECT status FROM logged_models").fetchall() == [(2,)]
    connection.close()
