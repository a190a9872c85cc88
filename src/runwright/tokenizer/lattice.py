"""All ways to cut words into pieces, as arrays: expected counts of pieces over millions of characters.

A node is a place in a word, an edge a piece between two places. Sums run over all words at once, from place
to place, in an order that the words alone decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEAST_FREQUENCY = 2  # of a seed of two characters or more


@dataclass(kw_only=True, slots=True)
class Lattice:
    """Pieces with scores, and every place of the words where one fits."""

    pieces: list[str]
    scores: np.ndarray  # [P] float64, log probabilities
    counts: np.ndarray  # [W] float64, how often each word occurs
    first: np.ndarray  # [W] int64, node at which each word begins
    lengths: np.ndarray  # [W] int64, characters of each word
    starts: np.ndarray  # [E] int32, node at which an edge begins; sorted by place in its word, then by node
    ends: np.ndarray  # [E] int32
    edges: np.ndarray  # [E] int32, which piece it is
    places: np.ndarray  # [E] int32, the place in its word at which an edge begins
    by_end: np.ndarray  # [E] int32, the edges by place in the word at which they end, then by node

    def keep(self, chosen: np.ndarray) -> Lattice:
        """The lattice of these pieces only, [P] bool."""
        inside = chosen[self.edges]
        numbers, edge_numbers = np.cumsum(chosen) - 1, np.cumsum(inside) - 1
        return Lattice(
            pieces=[piece for piece, kept in zip(self.pieces, chosen.tolist(), strict=True) if kept],
            scores=self.scores[chosen],
            counts=self.counts,
            first=self.first,
            lengths=self.lengths,
            starts=self.starts[inside],
            ends=self.ends[inside],
            edges=numbers[self.edges[inside]].astype(np.int32),
            places=self.places[inside],
            by_end=edge_numbers[self.by_end[inside[self.by_end]]].astype(np.int32),
        )

    def expected_counts(self) -> np.ndarray:
        """How often each piece occurs over all segmentations, weighted by their probability, [P] float64."""
        scores = self.scores[self.edges]
        last = self.first + self.lengths
        ending = self.places + (self.ends - self.starts)
        forward = self._sums(scores, self.starts, self.ends, ending, order=self.by_end, zero=self.first)
        backwards = np.arange(len(self.edges))[::-1]
        backward = self._sums(scores, self.ends, self.starts, self.places, order=backwards, zero=last)
        word_of = np.searchsorted(self.first, self.starts, side="right") - 1
        whole = backward[self.first][word_of]
        posterior = np.exp(forward[self.starts] + scores + backward[self.ends] - whole)
        return np.bincount(self.edges, posterior * self.counts[word_of], minlength=len(self.pieces))

    def _sums(
        self,
        scores: np.ndarray,
        sources: np.ndarray,
        targets: np.ndarray,
        places: np.ndarray,
        *,
        order: np.ndarray,
        zero: np.ndarray,
    ) -> np.ndarray:
        """Of each node the log of the sum over all ways to it from the nodes in `zero`."""
        totals = np.full(int(self.first[-1] + self.lengths[-1]) + 1, -np.inf)
        totals[zero] = 0.0
        scores, sources, targets, places = scores[order], sources[order], targets[order], places[order]
        borders = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(places)]
        for low, high in pairwise(borders):
            values = totals[sources[low:high]] + scores[low:high]
            nodes = targets[low:high]
            begins = np.flatnonzero(np.diff(nodes, prepend=-1))
            largest = np.maximum.reduceat(values, begins)
            widths = np.diff(np.append(begins, len(values)))
            sums = np.add.reduceat(np.exp(values - np.repeat(largest, widths)), begins)
            totals[nodes[begins]] = largest + np.log(sums)
        return totals


def seed_lattice(
    words: Mapping[str, int], alphabet: Sequence[str], *, longest: int, num_seeds: int
) -> Lattice:
    """The lattice of all characters and of the substrings with the largest frequency times length.

    The characters are the first pieces, in the order of `alphabet`, which holds all that occur in `words`.
    """
    text = "".join(words)
    number_of = {character: index for index, character in enumerate(alphabet)}
    characters = np.fromiter((number_of[c] for c in text), dtype=np.int64, count=len(text))
    counts = np.fromiter(words.values(), dtype=np.float64, count=len(words))
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    word_of, offsets = np.repeat(np.arange(len(words)), lengths), np.cumsum(lengths) - lengths
    place_of = np.arange(len(text)) - offsets[word_of]
    found = _substrings(characters, lengths[word_of] - place_of, counts[word_of], len(alphabet), longest)
    new_number, weights = _choose(found, num_seeds)
    pieces, parts, base = list(alphabet), [], 0
    for each in found:
        own = new_number[base : base + len(each.weights)]
        base += len(each.weights)
        if each.length > 1:
            pieces += [text[at : at + each.length] for at in each.places[own >= 0].tolist()]
        numbers = np.where(each.ids >= 0, own[each.ids], -1)
        at = np.flatnonzero(numbers >= 0)
        parts.append((at, np.full(len(at), each.length), numbers[at]))
    at, widths, edges = (np.concatenate(column) for column in zip(*parts, strict=True))
    starts, places = at + word_of[at], place_of[at]  # a word has one node more than characters
    order = np.lexsort((starts, places))
    starts, places, ends, edges = starts[order], places[order], (starts + widths)[order], edges[order]
    return Lattice(
        pieces=pieces,
        scores=np.log(weights) - np.log(weights.sum()),
        counts=counts,
        first=offsets + np.arange(len(words)),
        lengths=lengths,
        starts=starts.astype(np.int32),
        ends=ends.astype(np.int32),
        edges=edges.astype(np.int32),
        places=places.astype(np.int32),
        by_end=np.lexsort((ends, places + ends - starts)).astype(np.int32),
    )


def _choose(found: Sequence[_Substrings], num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """A number for each substring that becomes a seed, -1 for others, and the weights of the seeds."""
    sizes = np.concatenate([np.full(len(each.weights), each.length) for each in found])
    weights = np.concatenate([each.weights for each in found]) * sizes
    ranks = np.where(sizes == 1, np.inf, weights)
    chosen = np.sort(np.argsort(-ranks, kind="stable")[:num_seeds])  # characters first, then by length
    new_number = np.full(len(weights), -1, dtype=np.int64)
    new_number[chosen] = np.arange(len(chosen))
    return new_number, np.maximum(weights[chosen], 1e-10)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Substrings:
    """The substrings of one length that occur often enough."""

    length: int
    ids: np.ndarray  # [N] int64 for each character of the text, -1 where none begins
    weights: np.ndarray  # [S] float64, how often each occurs
    places: np.ndarray  # [S] int64, where each occurs first


def _substrings(
    characters: np.ndarray, left: np.ndarray, weights: np.ndarray, num_characters: int, longest: int
) -> list[_Substrings]:
    """By length; looked at only where both substrings that are one character shorter are frequent."""
    single = np.bincount(characters, weights, minlength=num_characters)
    found = [_Substrings(length=1, ids=characters, weights=single, places=np.zeros_like(single))]
    for length in range(2, longest + 1):
        ids = found[-1].ids
        fits = (left >= length) & (ids >= 0)
        fits[:-1] &= ids[1:] >= 0
        at = np.flatnonzero(fits)
        if not len(at):
            break
        keys = ids[at] * num_characters + characters[at + length - 1]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        totals = np.bincount(inverse, weights[at])
        frequent = totals >= LEAST_FREQUENCY
        numbers = np.where(frequent, np.cumsum(frequent) - 1, -1)
        new = np.full(len(characters), -1, dtype=np.int64)
        new[at] = numbers[inverse]
        found.append(
            _Substrings(length=length, ids=new, weights=totals[frequent], places=at[first[frequent]])
        )
    return found
