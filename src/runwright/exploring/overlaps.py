"""Rows that are the same as others: within a split, across splits, and with different labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from runwright.exploring.sketches import KeySample
from runwright.exploring.survey import MAX_EXAMPLES, SplitSurvey


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
        exact = _within(survey.split, survey.exact, kind="exact")
        found += [exact, _without(_within(survey.split, survey.near, kind="near"), exact)]
    for first, second in combinations(surveys.values(), 2):
        # The later split is the one that should be new: validation and test after train.
        exact = _across(second, first, kind="exact")
        found += [exact, _without(_across(second, first, kind="near"), exact)]
    return [overlap for overlap in found if overlap.rows > 0]


def find_noise(survey: SplitSurvey) -> Noise | None:
    """Texts that come with more than one label; None without any."""
    hashes, labels, positions = survey.exact.at_level(0)
    order = np.lexsort((positions, hashes))
    hashes, labels, positions = hashes[order], labels[order], positions[order]
    same = hashes[1:] == hashes[:-1]
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(hashes) else np.empty(0, np.int64)
    groups = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(hashes))))
    firsts = labels[starts][groups] if len(starts) else labels
    other = np.flatnonzero(labels != firsts)
    noisy, first_of = np.unique(groups[other], return_index=True)
    if not len(noisy):
        return None
    sizes = np.bincount(groups, minlength=len(starts))
    pairs = [
        (int(positions[starts[g]]), int(positions[other[p]])) for g, p in zip(noisy, first_of, strict=True)
    ]
    return Noise(
        split=survey.split,
        texts=len(noisy) * survey.exact.scale,
        rows=int(sizes[noisy].sum()) * survey.exact.scale,
        is_exact=survey.exact.scale == 1,
        examples=tuple(sorted(pairs)[:MAX_EXAMPLES]),
    )


def _within(split: str, sample: KeySample, *, kind: str) -> Overlap:
    hashes, _, positions = sample.at_level(0)
    order = np.lexsort((positions, hashes))
    hashes, positions = hashes[order], positions[order]
    again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    pairs = sorted((int(positions[place]), int(positions[place - 1])) for place in again[: 50 * MAX_EXAMPLES])
    return Overlap(
        split=split,
        other=split,
        kind=kind,
        rows=len(again) * sample.scale,
        is_exact=sample.scale == 1,
        examples=tuple(pairs[:MAX_EXAMPLES]),
    )


def _across(survey: SplitSurvey, other: SplitSurvey, *, kind: str) -> Overlap:
    mine, theirs = (survey.exact, other.exact) if kind == "exact" else (survey.near, other.near)
    level = max(mine.level, theirs.level)
    hashes, _, positions = mine.at_level(level)
    known, _, known_positions = theirs.at_level(level)
    places = np.flatnonzero(np.isin(hashes, known))
    examples = [
        (int(positions[place]), int(known_positions[known == hashes[place]].min()))
        for place in places[:MAX_EXAMPLES].tolist()
    ]
    return Overlap(
        split=survey.split,
        other=other.split,
        kind=kind,
        rows=len(places) << level,
        is_exact=level == 0,
        examples=tuple(examples),
    )


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
