"""Modules of the package `evaluate`: fed by each kind of task, checked before data is read, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from seqeval.metrics.sequence_labeling import f1_score
from sklearn import metrics as sk

from runwright.config import permissions
from runwright.errors import ConfigError, DataError
from runwright.metric import evaluate_adapter
from runwright.metric.bootstrap import bootstrap_interval, make_metric
from runwright.metric.classification import class_score, roc_auc
from runwright.metric.evaluate_adapter import check_modules, module_metric, module_notes, script_of
from runwright.predictions import Ragged
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]
MODULES = Path(__file__).with_name("modules")
TARGET = "runwright.metric.evaluate_adapter.module_metric"
DEFAULTS: dict[str, Any] = {"revision": None, "config_name": None, "options": {}}
SCORES: dict[str, Any] = {"key": "roc_auc"}
TASK = "runwright.task.sequence_classification.SequenceClassification"


@pytest.fixture(autouse=True)
def nothing_granted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(permissions.VARIABLE, raising=False)
    permissions.grant()
    yield
    permissions.grant()


@pytest.fixture
def permitted(nothing_granted: None) -> None:
    permissions.grant(trust_remote_code=True)


def node(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": TARGET, **DEFAULTS, "path": str(MODULES / name), **options}


def judged(name: str, predictions: Any, *, label_names: tuple[str, ...] = (), **options: Any) -> float:
    metric = make_metric(node(name, **options), key="metric.evaluate", label_names=label_names)
    return value(metric, predictions)


def value(metric: Metric, predictions: Any) -> float:
    return float(metric(predictions, np.ones((1, len(predictions.example_ids))))[0])


@pytest.mark.usefixtures("permitted")
def test_classes_sets_of_them_and_scores(single_label: Make, multi_label: Make) -> None:
    macro: dict[str, Any] = {"average": "macro"}
    several: dict[str, Any] = {"config_name": "multilabel"}
    for predictions, options in ((single_label(), {}), (multi_label(), several)):
        wanted = value(partial(class_score, score="f1", average="macro"), predictions)
        theirs = judged("prf", predictions, key="f1", options=macro, **options)
        assert theirs == pytest.approx(wanted, abs=1e-12)
    two = single_label(num_classes=2)
    assert judged("roc_auc", two, **SCORES) == pytest.approx(value(partial(roc_auc, average="binary"), two))
    wanted = value(partial(roc_auc, average="macro"), multi_label())
    assert judged("roc_auc", multi_label(), **SCORES, **several) == pytest.approx(wanted)


@pytest.mark.usefixtures("permitted")
def test_numbers(regression: Make) -> None:
    predictions = regression()
    wanted = np.corrcoef(predictions.predicted, np.asarray(predictions.expected))[0, 1]
    assert judged("pearsonr", predictions, key="pearsonr") == pytest.approx(wanted)


@pytest.mark.usefixtures("permitted")
def test_tags_by_their_names() -> None:
    names = ("O", "B-PER", "I-PER", "B-LOC")
    tags = {"expected": [[1, 2, 0, 3], [0, 1]], "predicted": [[1, 2, 0, 0], [0, 3]]}
    columns = {side: Ragged.of(rows, dtype=np.int64) for side, rows in tags.items()}
    predictions = SimpleNamespace(example_ids=np.arange(2), **columns)
    seqeval = partial(judged, "seqeval", predictions, label_names=names)
    named = {side: [[names[tag] for tag in row] for row in rows] for side, rows in tags.items()}
    assert seqeval(key="overall_f1") == f1_score(named["expected"], named["predicted"])
    assert seqeval(key="PER.recall") == 0.5  # one of two
    assert math.isnan(seqeval(key="ORG.recall"))  # no such span in these


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize("config_name", [None, "v2"])
def test_answers(config_name: str | None) -> None:
    expected = np.fromiter([("a cat", "the cat"), ("Rome",), ()], dtype=object)
    predictions = SimpleNamespace(
        example_ids=np.arange(3),
        predicted=np.array(["the cat", "in rome", ""], dtype=object),
        expected=expected,
        answerable=np.array([True, True, False]),
        margins=np.array([-2.0, -np.inf, 3.0]),
    )
    squad = partial(judged, "squad", predictions, config_name=config_name)
    assert squad(key="exact_match") == pytest.approx(200 / 3)
    assert squad(key="f1") == pytest.approx((100 + 100 * 2 / 3 + 100) / 3)


@pytest.mark.usefixtures("permitted")
def test_texts_with_one_or_several_references() -> None:
    texts = ["the cat sat on the mat", "a dog ran over the house"]
    references = [["the cat sat on a mat", "a cat sat on the mat"], ["a dog ran over it", "the dog ran"]]
    predictions = SimpleNamespace(
        example_ids=np.arange(2),
        predicted=np.array([texts[0], [texts[1], "another"]], dtype=object),  # several texts: the first
        expected=np.fromiter(references, dtype=object),
    )
    wanted = BLEU().corpus_score(texts, [list(stream) for stream in zip(*references, strict=True)]).score
    assert judged("sacrebleu", predictions, key="score") == wanted
    wanted = BLEU(lowercase=True, tokenize="char").corpus_score(texts, [["A B"] * 2]).score
    predictions.expected = np.fromiter([["A B"]] * 2, dtype=object)
    options = {"lowercase": True, "tokenize": "char"}
    assert judged("sacrebleu", predictions, key="score", options=options) == wanted


@pytest.mark.usefixtures("permitted")
def test_several_keys_cost_one_call(single_label: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, predictions = [], single_label(num_classes=2)
    load = evaluate_adapter.load_module

    def counting(*args: Any) -> Any:
        calls.append(args)
        return load(*args)

    monkeypatch.setattr(evaluate_adapter, "load_module", counting)
    values = [judged("prf", predictions, key=key) for key in ("precision", "recall")]
    pair = np.asarray(predictions.expected), predictions.predicted
    assert values == pytest.approx([sk.precision_score(*pair), sk.recall_score(*pair)])
    assert len(calls) == 1


@pytest.mark.usefixtures("permitted")
def test_resamples_give_our_interval(single_label: Make) -> None:
    theirs = make_metric(node("prf", key="f1", options={"average": "weighted"}), key="metric.evaluate")
    found, wanted = (
        bootstrap_interval(metric, single_label(num_examples=40), num_samples=20, seed=0)
        for metric in (theirs, partial(class_score, score="f1", average="weighted"))
    )
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-12)


SUITED = [
    ("single_label", node("accuracy", key="accuracy")),
    ("single_label", node("prf", key=["precision", "f1"])),  # two classes
    ("single_label", node("prf", key="f1", options={"average": "macro"})),  # any number
    ("single_label", node("roc_auc", **SCORES)),
    ("multi_label", node("accuracy", key="accuracy", config_name="multilabel")),
    ("regression", node("pearsonr", key="pearsonr")),
    ("tags", node("seqeval", key=["overall_f1", "LOC.f1"])),
    ("answers", node("squad", key="f1", config_name="v2")),
    ("texts", node("sacrebleu", key="score")),
]


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize(("problem", "metric"), SUITED)
def test_a_module_is_tried_on_examples_of_the_task_and_of_no_other(
    problem: str, metric: dict[str, Any]
) -> None:
    check_modules({"evaluate": metric}, task={"_target_": TASK, "problem": problem})
    others = {"tags", "answers", "texts", "regression"} - {problem}
    for other in others - ({"regression"} if "roc_auc" in metric["path"] else set()):
        with pytest.raises((ConfigError, DataError), match="cannot judge"):
            check_modules({"evaluate": metric}, task={"_target_": TASK, "problem": other})


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize(
    ("metric", "label_names", "problem"),
    [
        (node("prf", key="f2"), (), "computes no number 'f2', only precision, recall, f1"),
        (node("prf", key="f1", options={"averge": "macro"}), (), "averge"),
        (node("prf", key="f1"), ("a", "b", "c"), "Target is multiclass but average='binary'"),
    ],
)
def test_wrong_keys_and_arguments_are_found_on_made_examples(
    metric: dict[str, Any], label_names: tuple[str, ...], problem: str
) -> None:
    task = {"_target_": TASK, "problem": "single_label"}
    with pytest.raises(ConfigError, match=problem) as caught:
        check_modules({"evaluate": metric}, task=task, label_names=label_names)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("metric.evaluate: ")


@pytest.mark.usefixtures("permitted")
def test_a_type_of_spans_that_no_tag_has_is_found_when_the_tags_are_known() -> None:
    metrics = {"evaluate": node("seqeval", key="PERS.f1")}
    task = {"_target_": TASK, "problem": "tags"}
    check_modules(metrics, task=task)
    with pytest.raises(ConfigError, match=r"no number 'PERS\.f1'"):
        check_modules(metrics, task=task, label_names=("O", "B-PER"))
    with pytest.raises(ConfigError, match=r"no number 'PER', only \{'precision'"):
        check_modules({"evaluate": node("seqeval", key="PER")}, task=task, label_names=("O", "B-PER"))


@pytest.mark.usefixtures("permitted")
def test_a_script_with_a_mistake_is_told_in_one_line(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import nothing_of_this_name\n")
    task = {"_target_": TASK, "problem": "single_label"}
    with pytest.raises(ConfigError, match=r"broken\.py cannot be loaded: ImportError.*nothing_of_this_name"):
        check_modules({"evaluate": node("", path=str(script), key="f1")}, task=task)
    script = tmp_path / "ending.py"
    script.write_text("raise SystemExit(0)\n")
    with pytest.raises(ConfigError, match=r"ending\.py cannot be loaded: SystemExit"):
        check_modules({"evaluate": node("", path=str(script), key="f1")}, task=task)


def test_a_script_that_is_not_there_is_no_name_on_the_hub() -> None:
    with pytest.raises(ConfigError, match=r"a module's path: given 'metrics/f1\.py', expected a \.py file"):
        script_of("metrics/f1.py", None)


def test_without_permission_nothing_runs(tmp_path: Path, single_label: Make) -> None:
    script = tmp_path / "marking.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    options: dict[str, Any] = {**DEFAULTS, "path": str(script), "key": "f1"}
    with pytest.raises(ConfigError, match="--trust-remote-code"):
        module_metric(single_label(), (), **options)
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("permitted")
def test_notes_have_the_hash_of_the_code_and_say_what_has_no_interval() -> None:
    notes = module_notes({"mine": node("prf", key=["f1"], interval=False), "other": {"_target_": "a.b"}})
    assert notes[0].startswith("mine: prf.py, sha256 ")
    assert "mine has no interval" in notes[1]
    assert len(notes) == 2


@pytest.mark.usefixtures("permitted")
def test_examples_that_a_module_cannot_judge_are_nan_and_told(
    single_label: Make, as_predictions: Make, caplog: pytest.LogCaptureFixture
) -> None:
    assert math.isnan(judged("prf", single_label(num_classes=3), key="f1"))  # a run in training goes on
    assert "Target is multiclass" in caplog.text
    assert "the metric is NaN there" in caplog.text
    scores = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.4, 0.6]])
    few = as_predictions(scores.argmax(axis=1), [0, 1, 0, 1], scores)
    area = make_metric(node("roc_auc", **SCORES), key="metric.evaluate")
    interval = bootstrap_interval(area, few, num_samples=30, seed=0)  # some resamples are of one class
    assert interval.value == interval.low == interval.high == 1.0
