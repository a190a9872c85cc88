"""Shipped metrics as objects of `evaluate`: the values of the libraries behind the modules of that name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import evaluate
import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from scipy import stats
from seqeval.metrics import sequence_labeling as seqeval
from sklearn import metrics as sk

from runwright.config import permissions
from runwright.config.folders import find_conf_folders
from runwright.errors import ConfigError
from runwright.metric import as_evaluate
from runwright.metric.evaluate_adapter import module_metric

DRAW = random.Random(0)
CLASSES = {name: [DRAW.randrange(3) for _ in range(60)] for name in ("predictions", "references")}
TWO = {name: [value % 2 for value in values] for name, values in CLASSES.items()}
SETS = {name: [[DRAW.randrange(2) for _ in range(3)] for _ in range(60)] for name in CLASSES}
NUMBERS = {name: [DRAW.gauss(0, 1) for _ in range(60)] for name in CLASSES}
TAGS = {name: [DRAW.choices(["O", "B-a", "I-a", "B-b"], k=8) for _ in range(30)] for name in CLASSES}
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "over", "mat", "house"]
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(4, 12))) for _ in range(120)]
STREAMS = [TEXTS[40:80], TEXTS[80:]]
PAIRS: dict[str, Any] = {"predictions": TEXTS[:40]}
PAIRS["references"] = [list(row) for row in zip(*STREAMS, strict=True)]
PROBABILITIES = np.random.default_rng(0).dirichlet([1, 1, 1], size=60).tolist()
Compare = Callable[[Any, Any], Any]


def of_classes(function: Any, **options: Any) -> Compare:
    return lambda predictions, references: function(references, predictions, **options)


def rouge(variant: str) -> Compare:
    scorer = RougeScorer([variant])
    return lambda texts, references: np.mean(
        [scorer.score_multi(row, text)[variant].fmeasure for text, row in zip(texts, references, strict=True)]
    )


REFERENCES: dict[str, tuple[dict[str, Any], Compare]] = {
    "accuracy": (CLASSES, of_classes(sk.accuracy_score)),
    "matthews": (CLASSES, of_classes(sk.matthews_corrcoef)),
    "confusion_matrix": (CLASSES, lambda p, r: sk.confusion_matrix(r, p).tolist()),
    "label_accuracy": (SETS, lambda p, r: 1 - sk.hamming_loss(np.array(r), np.array(p))),
    "jaccard": (SETS, of_classes(sk.jaccard_score, average="samples", zero_division=1)),
    "pearson": (NUMBERS, lambda p, r: stats.pearsonr(p, r)[0]),
    "spearman": (NUMBERS, lambda p, r: stats.spearmanr(p, r)[0]),
    "mse": (NUMBERS, of_classes(sk.mean_squared_error)),
    "mae": (NUMBERS, of_classes(sk.mean_absolute_error)),
    "span_f1": (TAGS, of_classes(seqeval.f1_score)),
    "span_f1_macro": (TAGS, of_classes(seqeval.f1_score, average="macro")),
    "span_precision": (TAGS, of_classes(seqeval.precision_score)),
    "span_recall": (TAGS, of_classes(seqeval.recall_score)),
    "tag_accuracy": (TAGS, of_classes(seqeval.accuracy_score)),
    "bleu": (PAIRS, lambda p, _: BLEU().corpus_score(p, STREAMS).score),
    "chrf": (PAIRS, lambda p, _: CHRF().corpus_score(p, STREAMS).score),
    "chrf_plus_plus": (PAIRS, lambda p, _: CHRF(word_order=2).corpus_score(p, STREAMS).score),
    "ter": (PAIRS, lambda p, _: TER().corpus_score(p, STREAMS).score),
    "rouge_1": (PAIRS, rouge("rouge1")),
    "rouge_2": (PAIRS, rouge("rouge2")),
    "rouge_l": (PAIRS, rouge("rougeL")),
    "rouge_lsum": (PAIRS, rouge("rougeLsum")),
}
for quotient in ("precision", "recall", "f1"):
    theirs = getattr(sk, f"{quotient}_score")
    REFERENCES[quotient] = (TWO, of_classes(theirs, zero_division=0))
    for average in ("macro", "micro", "weighted"):
        REFERENCES[f"{quotient}_{average}"] = (CLASSES, of_classes(theirs, average=average, zero_division=0))
# Of columns of their own, by hand; and those of answers, which test_reference compares with SQuAD's script.
BY_HAND: dict[str, tuple[dict[str, Any], float]] = {
    "mrr_10": ({"ranks": [1, 4, 11]}, (1 + 0.25) / 3),
    "ndcg_10": ({"ranks": [1, 3, 11]}, 1.5 / 3),
    "recall_1": ({"ranks": [1, 4, 11]}, 1 / 3),
    "recall_10": ({"ranks": [1, 4, 11]}, 2 / 3),
    "recall_100": ({"ranks": [1, 4, 101]}, 2 / 3),
    "next_sentence_accuracy": ({"next_right": [1, 0, 1]}, 2 / 3),
    "perplexity": ({"losses": [2.0, 4.0], "loss_counts": [1, 2]}, np.exp(2)),
    "bits_per_byte": ({"losses": [np.log(2), np.log(2)], "num_bytes": [1, 3]}, 0.5),
    "token_accuracy": ({"num_right": [1, 2], "loss_counts": [2, 4]}, 0.5),
    "distinct_1": ({"predictions": ["a b a b"], "references": ["a"]}, 0.5),
    "distinct_2": ({"predictions": ["a b a b"], "references": ["a"]}, 2 / 3),
    "length_ratio": ({"predictions": ["a b a b"], "references": ["a b"]}, 2.0),
    "text_exact_match": ({"predictions": ["a", "b"], "references": ["a", "a"]}, 0.5),
    "token_f1": ({"predictions": ["x y"], "references": ["x z"]}, 0.5),
}
ANSWERS = [("1", "the cat", ["cat", "dog"]), ("2", "a b", ["b c"]), ("3", "", [])]
SQUAD: dict[str, Any] = {
    "predictions": [{"id": key, "prediction_text": text} for key, text, _ in ANSWERS],
    "references": [
        {"id": key, "answers": {"text": texts, "answer_start": [0] * len(texts)}}
        for key, _, texts in reversed(ANSWERS)
    ],
}
BY_HAND |= {
    "exact_match": (SQUAD, 2 / 3),
    "answer_f1": (SQUAD, (1 + 2 / 3 + 1) / 3),
    "exact_match_answerable": (SQUAD, 0.5),
    "answer_f1_answerable": (SQUAD, (1 + 2 / 3) / 2),
    "exact_match_unanswerable": (SQUAD, 1.0),
}
SCORED: dict[str, tuple[dict[str, Any], Compare]] = {
    "roc_auc": (
        {"prediction_scores": [row[1] for row in PROBABILITIES], "references": TWO["references"]},
        of_classes(sk.roc_auc_score),
    ),
    "roc_auc_macro": (
        {"prediction_scores": PROBABILITIES, "references": CLASSES["references"]},
        of_classes(sk.roc_auc_score, multi_class="ovr"),
    ),
    "roc_auc_micro": (
        {"prediction_scores": PROBABILITIES, "references": SETS["references"]},
        of_classes(sk.roc_auc_score, average="micro"),
    ),
}


def test_every_shipped_metric_is_compared() -> None:
    shipped = {file.stem for file in (find_conf_folders().shipped / "metric").glob("*.yaml")}
    assert shipped == REFERENCES.keys() | BY_HAND.keys() | SCORED.keys() | {"evaluate"}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_metric_computes_what_its_library_does(name: str) -> None:
    examples, theirs = REFERENCES[name]
    value = as_evaluate(name).compute(**examples)[name]
    wanted = theirs(examples["predictions"], examples["references"])
    assert value == (wanted if isinstance(wanted, list) else pytest.approx(wanted, abs=1e-12))


@pytest.mark.parametrize("name", BY_HAND)
def test_a_metric_of_columns_of_its_own(name: str) -> None:
    examples, wanted = BY_HAND[name]
    assert as_evaluate(name).compute(**examples)[name] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", SCORED)
def test_a_metric_of_scores(name: str) -> None:
    examples, theirs = SCORED[name]
    wanted = theirs(examples["prediction_scores"], examples["references"])
    assert as_evaluate(name).compute(**examples)[name] == pytest.approx(wanted, abs=1e-12)


def test_examples_are_added_in_batches_and_metrics_are_combined() -> None:
    metrics = evaluate.combine([as_evaluate(name) for name in ("accuracy", "f1_macro", "matthews")])
    for start in range(0, 60, 25):
        metrics.add_batch(**{side: values[start : start + 25] for side, values in CLASSES.items()})
    found = metrics.compute()
    pair = CLASSES["references"], CLASSES["predictions"]
    wanted = {"accuracy": sk.accuracy_score(*pair), "matthews": sk.matthews_corrcoef(*pair)}
    assert found == pytest.approx({**wanted, "f1_macro": sk.f1_score(*pair, average="macro")})
    script = Path(__file__).with_name("modules") / "prf" / "prf.py"
    both = evaluate.combine([as_evaluate("f1"), evaluate.load(str(script), keep_in_memory=True)])
    found = both.compute(**TWO)
    assert found["f1_f1"] == pytest.approx(found["prf_f1"])


def test_options_of_a_metric() -> None:
    examples = {"predictions": ["A b"], "references": [["a b"]]}
    assert as_evaluate("text_exact_match").compute(**examples)["text_exact_match"] == 0
    assert as_evaluate("text_exact_match", normalization="squad").compute(**examples)["text_exact_match"] == 1


@pytest.mark.parametrize(
    ("name", "options", "examples", "problem"),
    [
        ("span_f2", {}, {}, "did you mean 'span_f1'"),
        ("f1", {"averge": "macro"}, {}, "averge"),
        ("f1", {}, {**TWO, "averge": "macro"}, "not averge"),
        ("span_f1", {}, CLASSES, "expected format"),
    ],
)
def test_what_is_wrong_is_said(name: str, options: Any, examples: Any, problem: str) -> None:
    with pytest.raises((ConfigError, TypeError, ValueError), match=problem):
        as_evaluate(name, **options).compute(**examples)


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "module", "key", "examples"),
    [
        ("accuracy", "accuracy", "accuracy", CLASSES),
        ("f1", "f1", "f1", TWO),
        ("matthews", "matthews_correlation", "matthews_correlation", CLASSES),
        ("pearson", "pearsonr", "pearsonr", NUMBERS),
        ("span_f1", "seqeval", "overall_f1", TAGS),
        ("bleu", "sacrebleu", "score", PAIRS),
        ("chrf", "chrf", "score", PAIRS),
    ],
)
def test_a_metric_computes_what_the_module_of_the_hub_does(
    name: str, module: str, key: str, examples: dict[str, Any]
) -> None:
    wanted = evaluate.load(module, keep_in_memory=True).compute(**examples)
    assert wanted is not None
    assert as_evaluate(name).compute(**examples)[name] == pytest.approx(wanted[key], abs=1e-9)


@pytest.mark.network
def test_a_module_of_the_hub_by_its_name_and_commit() -> None:
    from huggingface_hub import HfApi

    commit = HfApi().space_info("evaluate-metric/accuracy").sha
    options: dict[str, Any] = {"revision": commit, "config_name": None, "key": "accuracy", "options": {}}
    columns = {"predicted": np.array([0, 1, 1]), "expected": np.array([0, 1, 0])}
    permissions.grant(trust_remote_code=True)
    try:
        predictions = SimpleNamespace(example_ids=np.arange(3), **columns)
        assert module_metric(predictions, (), path="accuracy", **options) == pytest.approx(2 / 3)
    finally:
        permissions.grant()
