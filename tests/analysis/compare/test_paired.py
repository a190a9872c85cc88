"""Two runs on the same rows: no difference of anything but what the columns of the table show."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, TER
from sklearn.metrics import f1_score, roc_auc_score

from runwright.analysis.compare.paired import as_predictions
from runwright.analysis.compare.sides import Difference, find_sides
from runwright.analysis.compare.verdict import Verdict, judge
from runwright.cli.main import main
from runwright.metric.classification import tag_accuracy

MakeRun = Callable[..., Path]


def compare(*folders: Path) -> tuple[dict[str, Difference], Verdict]:
    first, second = find_sides([str(folder) for folder in folders], output_dir="outputs")
    verdict = judge(first, second)
    return {each.metric: each for each in verdict.differences}, verdict


def sentences(skill: float, seed: int) -> list[dict[str, Any]]:
    """60 rows with a span or none, found with some probability; the loss is a sum over four words."""
    chance, found = np.random.default_rng(seed), []
    for row in range(60):
        expected = [{"type": ("place", "person")[row % 2], "text": "Ulm", "start": 3, "end": 6}][: row % 3]
        seen = [span | {"score": round(chance.random(), 6)} for span in expected if chance.random() < skill]
        record = {"row_id": row, "words": ["In", "Ulm", "it", "rains"], "predicted": seen}
        found.append({**record, "expected": expected, "loss": 4 * float(chance.gamma(1.0))})
    return found


def test_spans_are_tested_by_span_f1(make_run: MakeRun) -> None:
    folders, figures = [], []
    for seed, skill in ((1, 0.3), (2, 0.9)):
        rows = sentences(skill, seed)
        num_found, num_expected = (sum(len(row[key]) for row in rows) for key in ("predicted", "expected"))
        figures.append(2 * num_found / (num_found + num_expected))  # all that was found is right
        by_word = sum(row["loss"] for row in rows) / (4 * len(rows))
        spans = {"_target_": "runwright.metric.classification.span_score", "score": "f1", "average": "micro"}
        tags = {"_target_": "runwright.metric.classification.tag_accuracy"}
        recorded = {"test/loss": by_word, "test/span_f1": figures[-1], "test/tag_accuracy": 0.9}
        trainer = {"best_metric": "span_f1", "best_mode": "max"}
        metric = {"span_f1": spans, "tag_accuracy": tags}
        folders.append(make_run(predictions=rows, figures=recorded, metric=metric, trainer=trainer))
    found, verdict = compare(*folders)
    assert set(found) == {"test/span_f1"}
    assert verdict.words.startswith("B is better than A: test/span_f1 is 0.")
    assert (found["test/span_f1"].first, found["test/span_f1"].second) == pytest.approx(figures)
    assert any(note.endswith("give them: test/loss, test/tag_accuracy") for note in verdict.notes)


def test_tags_are_recorded_beside_their_spans() -> None:
    span = {"type": "x", "text": "Ulm", "start": 3, "end": 6}
    record = {"predicted": [span], "predicted_tags": ["O", "B-x", "O"], "expected": []}
    record |= {"expected_tags": ["O", "O", "O"]}
    found: Any = as_predictions([record, record], ("O", "B-x", "I-x"))
    assert tag_accuracy(found, np.ones((1, 2))).tolist() == [4 / 6]


def answers(skill: float, seed: int) -> list[dict[str, Any]]:
    """60 questions, found at another place by every model; the last has no place, so no loss of its own."""
    chance, found = np.random.default_rng(seed), []
    for row in range(60):
        exact = float(chance.random() < skill)
        record = {"row_id": row, "question": "when?", "context": "in 308 or so"}
        record |= {"predicted": "308" if exact else "or", "start": 3 if exact else 7, "end": int(6 + seed)}
        record |= {"score": chance.random(), "no_answer_margin": chance.random(), "expected": ["308", "308."]}
        found.append(
            {**record, "exact": exact, "f1": max(exact, 0.25), "loss": chance.gamma(1.0) * (row < 59)}
        )
    return found


def test_answers_are_judged_as_the_task_judges_them(make_run: MakeRun) -> None:
    folders, exact = [], []
    names = ("exact_match", "answer_f1")
    metric = {name: {"_target_": f"runwright.metric.answers.{name}", "of": "all"} for name in names}
    for seed, skill in ((1, 0.3), (2, 0.8)):
        rows = answers(skill, seed)
        exact.append(np.array([row["exact"] for row in rows]))
        recorded = {
            "test/loss": sum(row["loss"] for row in rows) / 59,
            "test/exact_match": exact[-1].mean(),
            "test/answer_f1": np.mean([row["f1"] for row in rows]),
        }
        trainer = {"best_metric": "answer_f1", "best_mode": "max"}
        folders.append(make_run(predictions=rows, figures=recorded, metric=metric, trainer=trainer))
        (folders[-1] / "task.json").write_text("{}")
    found, verdict = compare(*folders)
    assert list(found) == ["test/answer_f1", "test/exact_match"]
    difference = found["test/exact_match"]
    assert (difference.first, difference.second) == pytest.approx([each.mean() for each in exact])
    assert difference.n == "60 rows"
    answer_f1 = found["test/answer_f1"]
    assert answer_f1.interval.value == pytest.approx(0.75 * (exact[1].mean() - exact[0].mean()))
    assert answer_f1.interval.low > 0
    assert any(note.endswith("give them: test/loss") for note in verdict.notes)


def translations(skill: float, seed: int, extra: str) -> list[dict[str, Any]]:
    """60 rows with one or two references, and the summed loss of a row's tokens."""
    chance, source = np.random.default_rng(seed), np.random.default_rng(0)
    rows = []
    for row in range(60):
        words = [f"w{number}" for number in source.integers(20, size=8)]
        text = " ".join(word if chance.random() < skill else "x" for word in words)
        expected: Any = " ".join(words) if row % 2 else [" ".join(words), "w1 w2"]
        record = {"row_id": row, "source": f"s{row}", "predicted": f"{text}{extra}", "expected": expected}
        rows.append({**record, "loss": float(chance.gamma(2.0) * 9 * (1 - skill)), "loss_count": 9.0})
    return rows


def test_texts_are_compared_by_their_metrics_and_the_loss_of_a_token(make_run: MakeRun) -> None:
    bleu = {"_target_": "runwright.metric.texts.bleu", "tokenizer": "13a", "lowercase": False}
    ter = {"_target_": "runwright.metric.texts.ter", "normalized": False, "no_punct": False}
    ter |= {"asian_support": False, "case_sensitive": False}
    folders, scores, losses = [], [], []
    for seed, skill in ((1, 0.7), (2, 0.9)):
        rows = translations(skill, seed, "\u2028\u0085 end")  # marks at which str.splitlines would cut
        texts = [row["predicted"] for row in rows]
        references = [[row["expected"]] if row["row_id"] % 2 else row["expected"] for row in rows]
        streams = list(zip_longest(*references))
        scores.append([reference().corpus_score(texts, streams).score for reference in (BLEU, TER)])
        losses.append(sum(row["loss"] for row in rows) / (9 * len(rows)))
        recorded = dict(zip(("test/bleu", "test/ter", "test/loss"), (*scores[-1], losses[-1]), strict=True))
        metric, trainer = {"bleu": bleu, "ter": ter}, {"best_metric": "bleu", "best_mode": "max"}
        folders.append(make_run(predictions=rows, figures=recorded, metric=metric, trainer=trainer))
        (folders[-1] / "task.json").write_text("{}")
    found, verdict = compare(*folders)
    assert list(found) == ["test/bleu", "test/loss", "test/ter"]
    assert (found["test/bleu"].first, found["test/bleu"].second) == (scores[0][0], scores[1][0])
    assert (found["test/ter"].first, found["test/ter"].second) == pytest.approx((scores[0][1], scores[1][1]))
    assert (found["test/loss"].first, found["test/loss"].second) == pytest.approx(losses)
    assert [found[f"test/{name}"].better for name in ("bleu", "ter", "loss")] == [1, 1, 1]
    assert verdict.words.startswith("B is better than A: test/bleu is ")
    assert not [note for note in verdict.notes if "not tested" in note]


def test_the_loss_of_a_token_is_compared_where_texts_have_other_numbers_of_them(make_run: MakeRun) -> None:
    folders, losses = [], []
    for seed, width in ((1, 1), (2, 3)):
        rows = translations(0.5, seed, "")
        for row in rows:
            row["loss_count"] = 5.0 * width + row["row_id"] % 3
        losses.append(sum(row["loss"] for row in rows) / sum(row["loss_count"] for row in rows))
        folders.append(make_run(predictions=rows, figures={"test/loss": losses[-1]}, metric={}))
        (folders[-1] / "task.json").write_text("{}")
    loss = compare(*folders)[0]["test/loss"]
    assert (loss.first, loss.second) == pytest.approx(losses)
    assert loss.interval.low < losses[1] - losses[0] < loss.interval.high < 0


def two_classes(seed: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """80 rows with the score of what was predicted alone, and what a run records of them."""
    chance, truth = np.random.default_rng(seed), np.random.default_rng(0).integers(2, size=80)
    scores = np.clip(0.5 + (truth - 0.5) * 0.3 + chance.normal(scale=0.2, size=80), 0, 1)
    predicted, names = (scores > 0.5).astype(int), ("ham", "spam")
    rows = [
        {"row_id": i, "text": "x", "predicted": names[p], "expected": names[t], "score": max(s, 1 - s)}
        for i, (p, t, s) in enumerate(zip(predicted, truth, scores, strict=True))
    ]
    return rows, {"test/f1": f1_score(truth, predicted), "test/roc_auc": float(roc_auc_score(truth, scores))}


def runs_of_two_classes(make_run: MakeRun, *, num_left_out: int, roc_auc: float | None = None) -> list[Path]:
    metric = {
        "f1": {"_target_": "runwright.metric.classification.class_score", "score": "f1", "average": "binary"},
        "roc_auc": {"_target_": "runwright.metric.classification.roc_auc", "average": "binary"},
    }
    folders = []
    for seed in (1, 2):
        rows, recorded = two_classes(seed)
        if roc_auc is not None:
            recorded["test/roc_auc"] = roc_auc
        folders.append(make_run(seed=seed, predictions=rows, figures=recorded, metric=metric))
        (folders[-1] / "task.json").write_text(json.dumps({"label_names": ["ham", "spam"]}))
    if num_left_out:  # the second never saw the first rows
        rows, _ = two_classes(2)
        kept = rows[num_left_out:]
        is_spam = [[row[key] == "spam" for row in kept] for key in ("expected", "predicted")]
        summary = {"metrics": {"test/f1": f1_score(*is_spam), "test/roc_auc": 0.7}}
        (folders[1] / "summary.json").write_text(json.dumps(summary))
        text = "".join(json.dumps(row) + "\n" for row in kept)
        (folders[1] / "predictions" / "test.jsonl").write_text(text)
    return folders


@pytest.mark.parametrize("num_left_out", [0, 20])
def test_a_figure_that_the_predictions_do_not_give_is_not_tested(
    make_run: MakeRun, num_left_out: int
) -> None:
    found, verdict = compare(*runs_of_two_classes(make_run, num_left_out=num_left_out))
    assert set(found) == {"test/f1"}
    assert found["test/f1"].n == f"{80 - num_left_out} rows"
    assert any(note.endswith("do not give them: test/roc_auc") for note in verdict.notes)


def test_scores_that_are_not_recorded_are_not_taken_for_equal_ones(make_run: MakeRun) -> None:
    # 0.5 is what equal scores would give, and so no proof that the file has all that is needed.
    assert "test/roc_auc" not in compare(*runs_of_two_classes(make_run, num_left_out=0, roc_auc=0.5))[0]


def test_a_difference_says_of_what_it_is_one_where_rows_were_left_out(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = runs_of_two_classes(make_run, num_left_out=20)
    found, _ = compare(*folders)
    assert main(["compare", *map(str, folders)]) == 0
    lines = {
        line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("test/")
    }
    f1 = found["test/f1"]
    assert lines["test/f1"].rstrip().endswith(f"] of {f1.first:.4f} and {f1.second:.4f}")
