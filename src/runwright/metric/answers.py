"""Exact match and F1 of answers, as SQuAD and CMRC define them, and their means over questions."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

import numpy as np

from runwright.metric.means import weighted_mean

Rules = Literal["none", "squad", "cmrc"]  # none: only the spaces around a text do not count
# answerable: those with an answer (SQuAD v2's HasAns); unanswerable: those without (NoAns)
Questions = Literal["all", "answerable", "unanswerable"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
# The marks that the evaluation of CMRC 2018 takes out; its list has "……" too, which no single character is.
_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_SEGMENT = re.compile(r"[\u4e00-\u9fa5]|(?:(?![\u4e00-\u9fa5])\w)+(?:[.,]\d+)*|[^\w\s]")


def exact_match(predictions: Any, weights: np.ndarray, *, of: Questions) -> np.ndarray:
    """Share of questions whose predicted answer is one of the expected ones."""
    return _mean_over(of, predictions.exact, predictions.answerable, weights)


def answer_f1(predictions: Any, weights: np.ndarray, *, of: Questions) -> np.ndarray:
    """Mean of the F1 with the nearest expected answer."""
    return _mean_over(of, predictions.f1, predictions.answerable, weights)


def _mean_over(of: Questions, values: np.ndarray, answerable: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if of == "all":
        return weighted_mean(values, weights)
    mask = answerable if of == "answerable" else ~answerable
    return weighted_mean(values * mask, weights, sizes=mask)


def text_exact_match(predicted: str, expected: Sequence[str], *, rules: Rules) -> float:
    """1 where the prediction is one of the expected answers once both are normalised, else 0.

    No expected answer means that there is none: "" is right then.
    """
    plain = {"none": str.strip, "squad": _squad_text, "cmrc": _cmrc_text}[rules]
    return float(any(plain(predicted) == plain(answer) for answer in _normal_answers(expected, rules)))


def text_f1(predicted: str, expected: Sequence[str], *, rules: Rules) -> float:
    """The F1 with the nearest of the expected answers, from 0 to 1.

    squad: over words, in any order (Rajpurkar et al. 2016, 2018). cmrc: over Chinese characters and other
    words, of the longest run that both have (Cui et al. 2019).
    """

    def pieces(text: str) -> list[str]:  # of Chinese each character, other words and marks by themselves
        return _squad_text(text).split() if rules == "squad" else _SEGMENT.findall(_cmrc_text(text))

    return max(_f1(pieces(predicted), pieces(answer), rules) for answer in _normal_answers(expected, rules))


def _normal_answers(expected: Sequence[str], rules: Rules) -> list[str]:
    """The expected answers of which something is left; "" where there is none."""
    return [answer for answer in expected if rules != "squad" or _squad_text(answer)] or [""]


def _f1(predicted: Sequence[str], expected: Sequence[str], rules: Rules) -> float:
    if not predicted or not expected:
        return float(predicted == expected)
    if rules == "squad":
        shared = sum((Counter(predicted) & Counter(expected)).values())
    else:
        shared = SequenceMatcher(None, predicted, expected, autojunk=False).find_longest_match().size
    return 2 * shared / (len(predicted) + len(expected))


def _squad_text(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _cmrc_text(text: str) -> str:
    return text.lower().strip().translate(_MARKS)
