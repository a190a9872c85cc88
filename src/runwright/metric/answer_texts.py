"""How like a predicted answer is to the expected ones: exact match and F1 as SQuAD and CMRC define them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

Rules = Literal["squad", "cmrc"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
# The marks that the evaluation of CMRC 2018 takes out; its list has "……" too, which no single character is.
_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_SEGMENT = re.compile(r"[\u4e00-\u9fa5]|(?:(?![\u4e00-\u9fa5])\w)+(?:[.,]\d+)*|[^\w\s]")


def exact_match(predicted: str, expected: Sequence[str], *, rules: Rules) -> float:
    """1 where the prediction is one of the expected answers once both are normalised, else 0.

    No expected answer means that there is none: "" is right then.
    """
    plain = _squad_text if rules == "squad" else _cmrc_text
    found = plain(predicted)
    return float(any(found == plain(answer) for answer in _given(expected, rules)))


def answer_f1(predicted: str, expected: Sequence[str], *, rules: Rules) -> float:
    """The F1 with the nearest of the expected answers, from 0 to 1.

    squad: over words, in any order (Rajpurkar et al. 2016, 2018). cmrc: over Chinese characters and other
    words, of the longest run that both have (Cui et al. 2019).
    """
    pieces = _squad_words if rules == "squad" else _cmrc_segments
    found = pieces(predicted)
    return max(_f1(found, pieces(answer), rules) for answer in _given(expected, rules))


def _given(expected: Sequence[str], rules: Rules) -> list[str]:
    """The expected answers of which something is left; "" where there is none."""
    kept = [answer for answer in expected if rules == "cmrc" or _squad_text(answer)]
    return kept or [""]


def _f1(found: Sequence[str], wanted: Sequence[str], rules: Rules) -> float:
    if not found or not wanted:
        return float(found == wanted)
    if rules == "squad":
        shared = sum((Counter(found) & Counter(wanted)).values())
    else:
        shared = SequenceMatcher(None, found, wanted, autojunk=False).find_longest_match().size
    return 2 * shared / (len(found) + len(wanted))


def _squad_text(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _squad_words(text: str) -> list[str]:
    return _squad_text(text).split()


def _cmrc_text(text: str) -> str:
    return text.lower().strip().translate(_MARKS)


def _cmrc_segments(text: str) -> list[str]:
    """Each Chinese character, each other word and each other mark by itself."""
    return _SEGMENT.findall(_cmrc_text(text))
