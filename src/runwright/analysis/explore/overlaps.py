"""Rows that are the same as others: within a split, across splits, and with different labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from runwright.analysis.explore.survey import MAX_EXAMPLES, NO_VALUE, SplitSurvey


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Rows of `split` whose texts are also in `other`; both are the same for rows within a split."""

    split: str
    other: str
    kind: str  # exact, near
    rows: int  # of `split`; within a split without the first of each
    examples: tuple[tuple[int, int], ...]  # positions in `split` and in `other`, one for each text


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Equal texts of a split with different labels."""

    split: str
    texts: int
    rows: int
    examples: tuple[tuple[int, int], ...]  # positions of a row and of an earlier one with the same text


def find_overlaps(surveys: Mapping[str, SplitSurvey]) -> list[Overlap]:
    """All of them, within splits first; near ones are counted without the exact ones."""
    within = [(survey, survey) for survey in surveys.values()]
    # The later split is the one that should be new: validation and test after train.
    across = [(second, first) for first, second in combinations(surveys.values(), 2)]
    overlaps = []
    for survey, other in within + across:
        exact = first_equal(survey.exact, other.exact, is_within=survey is other)
        near = first_equal(survey.near, other.near, is_within=survey is other)
        near[exact >= 0] = -1
        for kind, matches in (("exact", exact), ("near", near)):
            rows = np.flatnonzero(matches >= 0)
            if len(rows):
                overlaps.append(
                    Overlap(
                        split=survey.split,
                        other=other.split,
                        kind=kind,
                        rows=len(rows),
                        examples=_pairs(rows, matches[rows]),
                    )
                )
    return overlaps


def find_noise(survey: SplitSurvey) -> Noise | None:
    """Texts that come with more than one label; None without any."""
    labelled = np.flatnonzero(survey.label_hashes != NO_VALUE)
    texts, labels = survey.exact[labelled], survey.label_hashes[labelled]
    first = first_equal(texts, texts, is_within=False)
    differs = labels != labels[first]
    if not differs.any():
        return None
    noisy = np.unique(texts[differs])
    return Noise(
        split=survey.split,
        texts=len(noisy),
        rows=int(np.isin(survey.exact, noisy).sum()),
        examples=_pairs(labelled[differs], labelled[first[differs]]),
    )


def first_equal(hashes: np.ndarray, others: np.ndarray, *, is_within: bool) -> np.ndarray:
    """The position of the first of `others` that equals each hash, -1 without one, [N] int64.

    `is_within`: both are the same, and the first of equal ones has none.
    """
    if not len(others):
        return np.full(len(hashes), -1)
    different, first = np.unique(others, return_index=True)
    places = np.minimum(np.searchsorted(different, hashes), len(different) - 1)
    found = np.where(different[places] == hashes, first[places], -1)
    return np.where(found == np.arange(len(found)), -1, found) if is_within else found


def _pairs(later: np.ndarray, earlier: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Some pairs of positions, for each of `earlier` its first."""
    _, places = np.unique(earlier, return_index=True)
    shown = np.sort(places)[:MAX_EXAMPLES]
    return tuple(zip(later[shown].tolist(), earlier[shown].tolist(), strict=True))
