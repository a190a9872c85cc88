"""Metrics of texts: equal to sacrebleu and rouge-score, from statistics that are summed by weights."""

from __future__ import annotations

import gc
import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER

from runwright.errors import DataError
from runwright.metric import means, texts
from runwright.metric.bootstrap import bootstrap_interval, make_metric

ENGLISH = ["the", "a", "cat", "dog", "sat", "on", "mat", ",", ".", "ran", "over", "house", "quickly", "Cats"]
ENGLISH += ["U.S.", "don't", "well-known", "3.5"]
CHINESE = list("我们今天去北京上海看一只猫狗，。")
METRICS = {
    "bleu": (partial(texts.bleu, tokenizer="13a", lowercase=False), BLEU()),
    "bleu_intl": (
        partial(texts.bleu, tokenizer="intl", lowercase=True),
        BLEU(tokenize="intl", lowercase=True),
    ),
    "chrf": (partial(texts.chrf, word_order=0, lowercase=False), CHRF()),
    "chrf++": (partial(texts.chrf, word_order=2, lowercase=False), CHRF(word_order=2)),
    "ter": (
        partial(texts.ter, normalized=False, no_punct=False, asian_support=False, case_sensitive=False),
        TER(),
    ),
    "ter_all": (
        partial(texts.ter, normalized=True, no_punct=True, asian_support=True, case_sensitive=True),
        TER(normalized=True, no_punct=True, asian_support=True, case_sensitive=True),
    ),
}


def record(predicted: list[Any], expected: list[list[str]]) -> Any:
    return SimpleNamespace(
        example_ids=np.arange(len(predicted)),
        predicted=np.fromiter(predicted, dtype=object),
        expected=np.fromiter(expected, dtype=object),
    )


def value(metric: Any, predictions: Any) -> float:
    return float(metric(predictions, np.ones((1, len(predictions.example_ids))))[0])


def corpus(words: list[str], separator: str, num_references: int = 1, size: int = 60) -> Any:
    """Texts with some words of their references replaced; one is empty."""
    draw = random.Random(len(words) + num_references)
    expected, predicted = [], []
    for _ in range(size):
        first = [draw.choice(words) for _ in range(draw.randint(1, 15))]
        others = [[draw.choice(words) for _ in first] for _ in range(num_references - 1)]
        predicted.append([word if draw.random() < 0.7 else draw.choice(words) for word in first])
        expected.append([separator.join(text) for text in (first, *others)])
    return record(["", *(separator.join(text) for text in predicted[1:])], expected)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("num_references", [1, 3])
def test_a_corpus_and_any_sample_of_it_score_as_in_sacrebleu(name: str, num_references: int) -> None:
    metric, reference = METRICS[name]
    whole = corpus(ENGLISH, " ", num_references)
    weights = np.stack(
        [np.ones(60), np.bincount(np.random.default_rng(0).integers(60, size=60), minlength=60)]
    )
    for row, score in zip(weights.astype(int), metric(whole, weights), strict=True):
        rows = np.repeat(np.arange(60), row)
        streams = [list(stream) for stream in zip(*whole.expected[rows], strict=True)]
        wanted = reference.corpus_score(whole.predicted[rows].tolist(), streams).score
        assert score == (pytest.approx(wanted, rel=1e-12) if "ter" in name else wanted)


@pytest.mark.parametrize("tokenizer", ["zh", "char", "13a"])
def test_chinese_scores_as_in_sacrebleu(tokenizer: Any) -> None:
    whole = corpus(CHINESE, "")
    references = [[expected[0] for expected in whole.expected]]
    wanted = BLEU(tokenize=tokenizer).corpus_score(whole.predicted.tolist(), references).score
    assert value(partial(texts.bleu, tokenizer=tokenizer, lowercase=False), whole) == wanted
    assert wanted > 20 or tokenizer == "13a"


def test_texts_may_have_different_numbers_of_references() -> None:
    uneven = record(["a b c d e", "f g h i"], [["a b c d e", "x y"], ["f g h j"]])
    wanted = BLEU().corpus_score(["a b c d e", "f g h i"], [["a b c d e", "f g h j"], ["x y", None]]).score
    assert value(METRICS["bleu"][0], uneven) == wanted
    with pytest.raises(DataError, match="row 1: there is no expected text"):
        value(METRICS["bleu"][0], record(["a", "b"], [["a"], []]))


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_of_ascii_texts_is_that_of_the_package(variant: Any, stemmer: bool) -> None:
    whole = corpus([*ENGLISH, "running\n", "under_score", "was", "wa"], " ", 2, size=30)
    scorer = RougeScorer([variant], use_stemmer=stemmer)
    pairs = zip(whole.predicted, whole.expected, strict=True)
    scores = [scorer.score_multi(expected, text)[variant].fmeasure for text, expected in pairs]
    metric = partial(texts.rouge, variant=variant, stemmer=stemmer)
    assert value(metric, whole) == pytest.approx(float(np.mean(scores)), rel=1e-12)


@pytest.mark.parametrize(
    ("predicted", "expected", "f1"),
    [
        ("Le café", "le cafe", 0.5),
        ("le cafe\u0301", "LE CAFÉ", 1.0),  # composed and decomposed
        ("我爱北京", "我爱上海", 0.5),
        ("GPT模型", "gpt 模 型", 1.0),
        ("Привет мир", "привет, мир!", 1.0),
    ],
)
def test_rouge_reads_every_script(predicted: str, expected: str, f1: float) -> None:
    metric = partial(texts.rouge, variant="rouge1", stemmer=False)
    assert value(metric, record([predicted], [[expected]])) == pytest.approx(f1)


def test_matches_lengths_and_repetition() -> None:
    whole = record([" The cat ", "a b a b a b", ["dog", "cat"]], [["The cat"], ["b", "a b c"], ["the Dog!"]])
    assert value(partial(texts.exact_match, normalization="none"), whole) == pytest.approx(1 / 3)
    assert value(partial(texts.exact_match, normalization="squad"), whole) == pytest.approx(2 / 3)
    # "a" is an article: "b b b" against "b c", then 2 * 1 / 5
    assert value(partial(texts.token_f1, normalization="squad"), whole) == pytest.approx((1 + 0.5 + 1) / 3)
    # 2 + 6 + 1 words, and of the references nearest in length 2 + 3 + 3 ("!" is a word)
    assert value(partial(texts.length_ratio, tokenizer="13a"), whole) == pytest.approx(9 / 8)
    assert value(partial(texts.distinct_n, n=1), whole) == pytest.approx((2 + 2 + 1) / 9)
    assert value(partial(texts.distinct_n, n=2), whole) == pytest.approx((1 + 2) / 6)


def test_nothing_to_judge_is_undefined() -> None:
    none, one = record([], []), record(["a"], [["a"]])
    for metric, _ in METRICS.values():
        assert np.isnan(metric(none, np.ones((2, 0)))).all()
        assert np.isnan(metric(one, np.zeros((1, 1)))).all()
    for metric in (
        partial(texts.rouge, variant="rouge1", stemmer=False),
        partial(texts.distinct_n, n=2),
        partial(texts.length_ratio, tokenizer="13a"),
    ):
        assert np.isnan(metric(none, np.ones((2, 0)))).all()
    with pytest.raises(DataError, match="no labels"):
        value(
            METRICS["bleu"][0],
            SimpleNamespace(example_ids=np.arange(1), predicted=one.predicted, expected=None),
        )


def test_statistics_are_computed_once_for_the_same_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    count = BLEU._extract_corpus_statistics
    monkeypatch.setattr(BLEU, "_extract_corpus_statistics", lambda *args: calls.append(1) or count(*args))
    whole = corpus(ENGLISH, " ")
    metric = METRICS["bleu"][0]
    interval = bootstrap_interval(metric, whole, num_samples=200, seed=0)
    assert interval.low < interval.value < interval.high
    assert len(calls) == 1
    other = SimpleNamespace(**{**vars(whole), "expected": whole.expected[::-1]})
    assert value(metric, other) != interval.value
    computed = id(whole.predicted)
    assert computed in means._COMPUTED
    del whole, other
    gc.collect()
    assert computed not in means._COMPUTED


def test_what_was_computed_with_other_options_is_not_taken() -> None:
    metrics = [
        *(partial(texts.rouge, variant=v, stemmer=s) for v in ("rouge1", "rouge2") for s in (False, True)),
        *(partial(texts.bleu, tokenizer=name, lowercase=False) for name in ("13a", "char")),
        *(partial(texts.chrf, word_order=order, lowercase=False) for order in (0, 2)),
        *(partial(texts.exact_match, normalization=name) for name in ("none", "squad")),
        *(partial(texts.distinct_n, n=n) for n in (1, 2)),
    ]
    predicted = ["Cats sat on the mat .", "The dog ran over", "a b a b c running", "run dog run dog"]
    expected = [["cat sat on a mat !"], ["the Dog ran over."], ["a b c a b run"], ["running dog runs"]]
    whole = record(predicted, expected)
    values = [value(metric, whole) for metric in metrics]
    assert values == [value(metric, record(predicted, expected)) for metric in metrics]
    assert len({*values}) == len(metrics)


@pytest.mark.parametrize(
    ("name", "options", "signature"),
    [
        ("bleu", {}, "bleu: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"),
        ("chrf_plus_plus", {}, "chrf_plus_plus: nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0"),
    ],
)
def test_the_signature_is_sacrebleus(name: str, options: dict[str, Any], signature: str) -> None:
    assert texts.signature_notes({name: node(name) | options}, [["a b"], ["c"]]) == [signature]
    options |= {"interval": False}
    several = texts.signature_notes({name: node(name) | options}, [["a b"], ["c", "d"]])
    assert several == [signature.replace("nrefs:1", "nrefs:var")]


def test_no_texts_have_no_score_whatever_the_options() -> None:
    none = SimpleNamespace(predicted=np.array([], dtype=object), expected=np.array([], dtype=object))
    score = texts.chrf(none, np.ones((1, 0)), word_order=3, lowercase=False)
    assert np.isnan(score).all()


def node(name: str) -> dict[str, Any]:
    file = Path(__file__).resolve().parents[2] / "conf" / "metric" / f"{name}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_all_metrics_of_texts_are_made_from_their_files() -> None:
    whole = corpus(ENGLISH, " ")
    perfect = record(
        [f"cat {text}" for text in whole.predicted], [[f"cat {text}"] for text in whole.predicted]
    )
    best = {"bleu": 100, "chrf": 100, "chrf_plus_plus": 100, "ter": 0}
    for name in (*best, "rouge_1", "rouge_lsum", "text_exact_match", "token_f1", "length_ratio"):
        metric = make_metric(node(name), key=f"metric.{name}")
        assert value(metric, perfect) == pytest.approx(best.get(name, 1)), name
