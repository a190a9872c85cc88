"""Exact match and F1 of answers: normalised as SQuAD and CMRC do, resampled."""

from __future__ import annotations

import re
import string
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.metric import answers
from runwright.metric.answers import text_exact_match, text_f1

# Expected by hand from the definition: lower case, no ASCII punctuation, no articles, single spaces.
SQUAD = [
    ("The  Eiffel Tower!", ["eiffel tower"], 1.0, 1.0),
    ("a an the", ["the"], 1.0, 1.0),  # nothing is left of either
    ("in 1066", ["1066"], 0.0, 2 / 3),
    ("Theme park", ["park"], 0.0, 2 / 3),  # the article inside a word stays
    ("U.S.", ["us"], 1.0, 1.0),
    ("well-known", ["well known"], 0.0, 0.0),  # the hyphen joins
    ("the the cat cat", ["cat"], 0.0, 2 / 3),  # each word counts as often as it occurs
    ("blue", ["red", "dark blue", "BLUE."], 1.0, 1.0),
    ("dark blue", ["red", "light blue"], 0.0, 0.5),
    ("“quoted”", ["quoted"], 0.0, 0.0),
    ("", [], 1.0, 1.0),
    ("something", [], 0.0, 0.0),
    ("", ["something"], 0.0, 0.0),
    ("the", ["the", "cat"], 0.0, 0.0),  # an expected answer that is nothing counts only if all are
]


@pytest.mark.parametrize(("predicted", "expected", "exact", "f1"), SQUAD)
def test_answers_are_compared_as_squad_does(
    predicted: str, expected: list[str], exact: float, f1: float
) -> None:
    assert text_exact_match(predicted, expected, rules="squad") == exact
    assert text_f1(predicted, expected, rules="squad") == pytest.approx(f1)


# By hand: Chinese characters one by one, other words whole, marks out; the longest run that both have.
CMRC = [
    ("光荣和ω-force", ["光荣和ω-force"], 1.0, 1.0),
    ("《战国无双3》", ["战国无双3"], 1.0, 1.0),
    ("战国无双", ["战国无双3"], 0.0, 8 / 9),
    ("任天堂游戏", ["任天堂的游戏"], 0.0, 6 / 11),  # 任天堂, not the five that both have
    ("村雨城", ["村雨城", "任天堂游戏谜之村雨城"], 1.0, 1.0),
    ("Nexon 公司", ["nexon公司"], 0.0, 1.0),  # the space is left in one and not in the segments
    ("2010年", ["2011年"], 0.0, 0.5),
    ("北京", ["上海"], 0.0, 0.0),
    ("", ["上海"], 0.0, 0.0),
    ("", [], 1.0, 1.0),
]


@pytest.mark.parametrize(("predicted", "expected", "exact", "f1"), CMRC)
def test_answers_are_compared_as_cmrc_does(
    predicted: str, expected: list[str], exact: float, f1: float
) -> None:
    assert text_exact_match(predicted, expected, rules="cmrc") == exact
    assert text_f1(predicted, expected, rules="cmrc") == pytest.approx(f1)


def _longest_run(one: list[str], other: list[str]) -> int:
    """By trying every run of the one."""
    runs = [one[start:end] for start in range(len(one)) for end in range(start + 1, len(one) + 1)]
    width = [len(run) for run in runs if any(run == other[at : at + len(run)] for at in range(len(other)))]
    return max(width, default=0)


@settings(deadline=None)
@given(st.text(alphabet="北京上海", max_size=8), st.text(alphabet="北京上海，", min_size=1, max_size=8))
def test_the_chinese_f1_is_that_of_the_longest_common_run(predicted: str, expected: str) -> None:
    one, other = list(predicted), [character for character in expected if character != "，"]
    if not one or not other:
        wanted = float(one == other)
    else:
        shared = _longest_run(one, other)
        precision, recall = shared / len(one), shared / len(other)
        wanted = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert text_f1(predicted, [expected], rules="cmrc") == pytest.approx(wanted)


def _reference_words(text: str) -> list[str]:
    """The normalisation written another way: character by character, then word by word."""
    kept = "".join(" " if character.isspace() else character for character in text.lower())
    kept = "".join(character for character in kept if character not in set(string.punctuation))
    return [word for word in re.split(r"\s+", kept) if word and word not in {"a", "an", "the"}]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(["The", "a", "an", "cat", "Cat.", "dog's", "12,000", "!"]), max_size=6),
    st.lists(st.sampled_from(["the", "A", "cat", "dogs", "12000", "-"]), max_size=6),
)
def test_squad_metrics_agree_with_a_second_implementation(one: list[str], other: list[str]) -> None:
    found, wanted = _reference_words(" ".join(one)), _reference_words(" ".join(other))
    predicted, expected = " ".join(one), [" ".join(other)]
    assert text_exact_match(predicted, expected, rules="squad") == float(found == wanted)
    if found and wanted:
        left, shared = list(wanted), 0
        for word in found:
            if word in left:
                left.remove(word)
                shared += 1
        precision, recall = shared / len(found), shared / len(wanted)
        metric = 2 * precision * recall / (precision + recall) if shared else 0.0
    else:
        metric = float(found == wanted)
    assert text_f1(predicted, expected, rules="squad") == pytest.approx(metric)


def judged(exact: list[float], f1: list[float], answerable: list[bool]) -> Any:
    return SimpleNamespace(
        example_ids=np.arange(len(exact)),
        exact=np.array(exact),
        f1=np.array(f1),
        answerable=np.array(answerable),
    )


@pytest.mark.parametrize(
    ("of", "exact", "f1"),
    [("all", 0.5, 0.625), ("answerable", 1 / 3, 0.5), ("unanswerable", 1.0, 1.0)],
)
def test_metrics_are_means_over_the_selected_questions(of: Any, exact: float, f1: float) -> None:
    whole = judged([1, 0, 0, 1], [1, 0.5, 0, 1], [True, True, True, False])
    weights = np.array([[1.0, 1, 1, 1], [0, 0, 2, 2]])
    last = {"all": 0.5, "answerable": 0.0, "unanswerable": 1.0}[of]
    assert answers.exact_match(whole, weights, of=of) == pytest.approx([exact, last])
    assert answers.answer_f1(whole, weights, of=of) == pytest.approx([f1, last])


def test_a_metric_of_no_questions_is_undefined() -> None:
    assert np.isnan(answers.exact_match(judged([1], [1], [True]), np.ones((1, 1)), of="unanswerable"))
