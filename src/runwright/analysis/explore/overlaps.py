"""Rows that are the same as others: within a split, across splits, and with different labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from runwright.analysis.explore.survey import MAX_EXAMPLES, SplitSurvey


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Rows of `split` whose texts are also in `other`; both are the same for rows within a split."""

    split: str
    other: str
    kind: str  # exact, near
    rows: int  # of `split`; within a split without the first of each
    is_exact: bool  # False: estimated from a part of the keys
    examples: tuple[tuple[int, int], ...]  # positions in `split` and in `other`


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Equal texts of a split with different labels."""

    split: str
    texts: int
    rows: int
    is_exact: bool
    examples: tuple[tuple[int, int], ...]  # positions of two rows with the same text


def find_overlaps(surveys: Mapping[str, SplitSurvey]) -> list[Overlap]:
    """All of them, within splits first; near ones are counted without the exact ones."""
    found = []
    for survey in surveys.values():
        exact = _within(survey, kind="exact")
        found += [exact, _without(_within(survey, kind="near"), exact)]
    for first, second in combinations(surveys.values(), 2):
        # The later split is the one that should be new: validation and test after train.
        exact = _across(second, first, kind="exact")
        found += [exact, _without(_across(second, first, kind="near"), exact)]
    return [overlap for overlap in found if overlap.rows > 0]


def find_noise(survey: SplitSurvey) -> Noise | None:
    """Texts that come with more than one label; None without any."""
    keys = survey.exact.at_level(0)
    noisy = keys[keys.other_label >= 0]
    if not len(noisy.hashes):
        return None
    return Noise(
        split=survey.split,
        texts=len(noisy.hashes) * survey.exact.scale,
        rows=int(noisy.rows.sum()) * survey.exact.scale,
        is_exact=survey.exact.scale == 1,
        examples=_pairs(noisy.first_labelled, noisy.other_label),
    )


def _within(survey: SplitSurvey, *, kind: str) -> Overlap:
    sample = survey.exact if kind == "exact" else survey.near
    keys = sample.at_level(0)
    # Near keys have the text itself for a label: what is quite the same is no example of them.
    later, earlier = (keys.second, keys.first) if kind == "exact" else (keys.other_label, keys.first_labelled)
    found = later >= 0
    return Overlap(
        split=survey.split,
        other=survey.split,
        kind=kind,
        rows=min(int((keys.rows - 1).sum()) * sample.scale, survey.num_rows),
        is_exact=sample.scale == 1,
        examples=_pairs(later[found], earlier[found]),
    )


def _across(survey: SplitSurvey, other: SplitSurvey, *, kind: str) -> Overlap:
    mine, theirs = (survey.exact, other.exact) if kind == "exact" else (survey.near, other.near)
    level = max(mine.level, theirs.level)
    keys, known = mine.at_level(level), theirs.at_level(level)
    _, at, known_at = np.intersect1d(keys.hashes, known.hashes, assume_unique=True, return_indices=True)
    return Overlap(
        split=survey.split,
        other=other.split,
        kind=kind,
        rows=min(int(keys.rows[at].sum()) << level, survey.num_rows),
        is_exact=level == 0,
        examples=_pairs(keys.first[at], known.first[known_at]),
    )


def _pairs(mine: np.ndarray, others: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The first of them by the position that is given first."""
    order = np.argsort(mine, kind="stable")[:MAX_EXAMPLES]
    return tuple(zip(mine[order].tolist(), others[order].tolist(), strict=True))


def _without(near: Overlap, exact: Overlap) -> Overlap:
    """Rows that are nearly the same but not quite."""
    known = set(exact.examples)
    return Overlap(
        split=near.split,
        other=near.other,
        kind="near",
        rows=max(0, near.rows - exact.rows),
        is_exact=near.is_exact and exact.is_exact,
        examples=tuple(pair for pair in near.examples if pair not in known),
    )
