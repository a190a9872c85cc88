"""The best model in MLflow: sent once, registered, and loaded by one who knows nothing of Runwright."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

import runwright
from runwright.config.addresses import to_address
from runwright.store import write_json
from runwright.tracker.journal import read
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.tracker.mlflow.upload import STATE_NAME, read_state
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]
Query = Callable[[str], list[tuple[Any, ...]]]
SOURCES = Path(runwright.__file__).parent
WORDS = ("[UNK]", "[PAD]", "good", "bad", "film", "soup")
TEXTS = ["good film", "bad", "soup soup bad film good"]
MODELS = "SELECT model_id, status FROM logged_models"
VERSIONS = "SELECT version, run_id FROM model_versions ORDER BY version"

pytestmark = pytest.mark.usefixtures("store_there")

# What a person would do elsewhere: MLflow, no Runwright, no network.
LOAD = """
import json, sys
import pandas as pd
import mlflow.pyfunc
uri, texts = json.loads(sys.argv[1])
model = mlflow.pyfunc.load_model(uri)
found = [model.predict(texts), model.predict(pd.DataFrame({"text": texts}))]
example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(uri))
print(json.dumps({
    "predictions": [each.to_dict("list") for each in found],
    "inputs": model.metadata.signature.inputs.to_dict(),
    "outputs": model.metadata.signature.outputs.to_dict(),
    "example": example.to_dict("list"),
    "modules": [name for name in sys.modules if name.startswith("runwright")],
}))
"""


@pytest.fixture
def make_best() -> Callable[..., Any]:
    """A tiny classifier in `best/` of a run, and what it says of texts by transformers alone."""

    def make(
        folder: Path, *, num_labels: int, seed: int = 0, architecture: str = "bert"
    ) -> Callable[..., torch.Tensor]:
        torch.manual_seed(seed)
        words = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
        words.pre_tokenizer = Whitespace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
        size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
        size |= {"num_key_value_heads": 2, "vocab_size": len(WORDS), "pad_token_id": 1}
        config = AutoConfig.for_model(architecture, num_labels=num_labels, **size)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        for name in ("classifier.weight", "score.weight"):
            if name in model.state_dict():
                torch.nn.init.normal_(model.get_parameter(name), std=3.0)
        model.save_pretrained(folder / "best")
        tokenizer.save_pretrained(folder / "best")
        for name in ("config.yaml", "task.json"):
            (folder / name).write_text("{}")

        def logits(*texts: list[str]) -> torch.Tensor:
            with torch.inference_mode():
                rows = [tokenizer(*row, return_tensors="pt") for row in zip(*texts, strict=True)]
                return torch.cat([model(input_ids=row["input_ids"]).logits for row in rows])

        return logits

    return make


def about(problem: str = "single_label", **changed: Any) -> dict[str, Any]:
    names = [] if problem == "regression" else ["no", "yes", "maybe"]
    settings = {"problem": problem, "standalone": True, "text_columns": ["text"], "label_names": names}
    settings |= {"max_length": 16, "threshold": 0.5, "step": 7, "example": [{"text": "good film"}]}
    return settings | changed


def log(tracker: MLflowTracker, run: RunInfo, settings: dict[str, Any]) -> None:
    tracker.start(run)
    tracker.log_model(run.folder / "best", about=settings)
    tracker.finish("FINISHED")


def load(uri: str, texts: Any, *, store: str) -> dict[str, Any]:
    environment = os.environ | {"MLFLOW_TRACKING_URI": store, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", LOAD, json.dumps([uri, texts])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_model_is_loaded_without_runwright_a_network_or_a_pickle(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, query: Query, tmp_path: Path
) -> None:
    run = make_run()
    logits = make_best(run.folder, num_labels=3)
    log(make_tracker(register_as="demo@best"), run, about())
    ((model_id, status),) = query(MODELS)
    assert status == 2  # READY
    artifacts = tmp_path / "outputs" / "mlartifacts"
    assert len(list(artifacts.rglob("model.safetensors"))) == 1
    kept = {path.name for path in artifacts.rglob("*") if path.is_file()}
    assert not {Path(name).suffix for name in kept} & {".pkl", ".pickle", ".bin", ".pt", ".joblib"}
    contents = b"".join(path.read_bytes() for path in artifacts.rglob("*") if path.is_file())
    assert not any(str(folder).encode() in contents for folder in (tmp_path, SOURCES))
    assert not list(run.folder.glob(".mlflow-model*"))
    assert query("SELECT destination_id, step FROM inputs WHERE destination_type = 'MODEL_OUTPUT'") == [
        (model_id, 7)
    ]
    found = load("models:/demo@best", TEXTS, store=to_address(tmp_path / "outputs" / "mlflow.db", "sqlite"))
    scores, names = logits(TEXTS).softmax(dim=-1), ["no", "yes", "maybe"]
    for predictions in found["predictions"]:
        assert predictions["predicted"] == [names[index] for index in scores.argmax(dim=-1)]
        assert predictions["score"] == pytest.approx(scores.max(dim=-1).values.tolist(), abs=1e-6)
    assert found["modules"] == []
    assert found["example"] == {"text": ["good film"]}
    assert found["inputs"] == [{"type": "string", "required": True}]
    assert [each["name"] for each in found["outputs"]] == ["predicted", "score"]


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
@pytest.mark.filterwarnings("ignore")  # what MLflow says about its own type hints when it is imported
def test_the_script_says_what_the_logits_say(make_best: Any, tmp_path: Path, problem: str) -> None:
    from runwright.inference.served_model import BestModel

    pairs, settings = {"a": TEXTS, "b": TEXTS[::-1]}, about(problem, text_columns=["a", "b"])
    logits = make_best(tmp_path, num_labels=1 if problem == "regression" else 3)(*pairs.values())
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    model = BestModel()
    model.load_context(SimpleNamespace(artifacts={"run": str(tmp_path)}))
    table = pd.DataFrame({"other": [1, 2, 3], **pairs}, index=[5, 1, 9])
    found = model.predict(None, table)
    assert list(found.index) == [5, 1, 9]
    names = settings["label_names"]
    if problem == "regression":
        assert found["predicted"].tolist() == pytest.approx(logits[:, 0].tolist(), abs=1e-5)
    elif problem == "single_label":
        assert found["predicted"].tolist() == [names[index] for index in logits.argmax(dim=-1)]
    else:
        rows = [[name for name, on in zip(names, row, strict=True) if on] for row in logits > 0]
        assert found["predicted"].tolist() == rows
    gap = model.predict(None, pd.DataFrame({"a": [None, float("nan")], "b": ["good", "bad"]}))
    assert len(gap) == 2


@pytest.mark.filterwarnings("ignore")  # as above
def test_the_script_reads_the_tokenizer_that_was_saved(make_best: Any, tmp_path: Path) -> None:
    from runwright.inference.served_model import BestModel

    logits = make_best(tmp_path, num_labels=3, architecture="qwen2")(TEXTS)
    (tmp_path / "settings.json").write_text(json.dumps(about()))
    model = BestModel()
    model.load_context(SimpleNamespace(artifacts={"run": str(tmp_path)}))
    found = model.predict(None, pd.DataFrame({"text": TEXTS}))
    expected = logits.softmax(dim=-1).max(dim=-1).values.tolist()
    assert found["score"].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_model_of_words_has_lists_in_signature_and_example(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, tmp_path: Path
) -> None:
    run = make_run()
    make_best(run.folder, num_labels=3)
    example = [{"words": ["good", "film"]}]
    log(make_tracker(), run, about("tags", standalone=False, text_columns=["words"], example=example))
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
    make_best(run.folder, num_labels=3)
    log(make_tracker(register_as="demo@best"), run, about())
    before = query(MODELS), query(VERSIONS)
    for key, state in (states := read_state(run.folder)).items():
        if key != "run":
            state["offset"] = 0
    write_json(run.folder / STATE_NAME, states)
    assert sync(run.folder) == 3
    assert (query(MODELS), query(VERSIONS)) == before
    assert len(before[0]) == len(before[1]) == 1
    assert len(list((tmp_path / "outputs" / "mlartifacts").rglob("model.safetensors"))) == 1


def test_an_alias_goes_to_the_newer_model_and_a_late_upload_does_not_take_it_back(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, query: Query
) -> None:
    first, second = make_run("run-1"), make_run("run-2")
    for run in (first, second):
        make_best(run.folder, num_labels=3)
        log(make_tracker(register_as="demo@best"), run, about())
    alias = "SELECT alias, version FROM registered_model_aliases WHERE name = 'demo'"
    assert query(alias) == [("best", 2)]
    assert [version for version, _ in query(VERSIONS)] == [1, 2]
    for key, state in (states := read_state(first.folder)).items():
        if key != "run":
            state["offset"] = 0
    write_json(first.folder / STATE_NAME, states)
    sync(first.folder)
    assert query(alias) == [("best", 2)]


@pytest.mark.slow
def test_a_server_that_was_down_gets_the_model_from_sync(
    make_run: MakeRun, make_tracker: MakeTracker, make_best: Any, server: Any
) -> None:
    run = make_run()
    make_best(run.folder, num_labels=3)
    log(make_tracker(uri=server.uri, register_as="demo@best", finish_timeout_seconds=5.0), run, about())
    assert [record["model"] for record, _ in read(run.folder / "journal.jsonl") if "model" in record] == [
        "best"
    ]
    server.start()
    assert sync(run.folder) == 3
    assert sync(run.folder) == 0
    stored = server.database.parent / "server-artifacts"
    assert len(list(stored.rglob("model.safetensors"))) == 1
    connection = sqlite3.connect(server.database)
    assert connection.execute("SELECT alias, version FROM registered_model_aliases").fetchall() == [
        ("best", 1)
    ]
    assert connection.execute("SELECT status FROM logged_models").fetchall() == [(2,)]
    connection.close()
