"""A unigram vocabulary: pieces with probabilities, the likeliest segmentation of a text (Kudo 2018).

The trainer of `tokenizers` 0.23 adds its sums in the order of a hash map that is seeded anew in each process,
so scores differ from run to run (by 2e-4 on WikiText-2). This one does the same steps over sorted words:
seeds by frequency times length, EM, removal of the pieces that the likelihood misses least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, models

from runwright.errors import DataError
from runwright.tokenizer.algorithms import alphabet_of, check_room
from runwright.tokenizer.lattice import Lattice, seed_lattice
from runwright.tokenizer.texts import Corpus
from runwright.types import OpenFraction, PositiveInt

SEEDS_PER_TOKEN = 10  # pieces to begin with, for each one wanted
SPARE = 1.1  # EM ends with so many times the pieces wanted; the likeliest of them stay
NUM_STEPS = 2  # of EM between two removals
LEAST_COUNT = 0.5  # expected occurrences of a piece that EM keeps
PENALTY = 1e-4  # between characters that no segmentation uses: each has a score of its own
DIGITS = 6  # of a score; further ones depend on the processor's arithmetic


@dataclass(frozen=True, kw_only=True, slots=True)
class Unigram:
    """Pieces with probabilities; a text is cut into the likeliest ones."""

    vocab_size: PositiveInt
    alphabet_size: PositiveInt | None
    max_piece_length: PositiveInt
    shrinking_factor: OpenFraction

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        """A model whose first tokens are `tokens`."""
        alphabet = sorted(alphabet_of(pipeline, corpus, self.alphabet_size))
        least = len(tokens) + len(alphabet)
        check_room(self.vocab_size, least, "special tokens and the characters of the texts")
        words = _known_parts(_count(pipeline, corpus), alphabet)
        if not words:
            raise DataError(f"there is no text to train a tokenizer on in {corpus.name}")
        scores = learn(
            words,
            alphabet,
            size=self.vocab_size - len(tokens),
            longest=self.max_piece_length,
            shrink=self.shrinking_factor,
        )
        vocab = [*((token, 0.0) for token in tokens), *scores]
        return models.Unigram(vocab=vocab, unk_id=list(tokens).index(unk), byte_fallback=False)


def learn(
    words: dict[str, int], alphabet: Sequence[str], *, size: int, longest: int, shrink: float
) -> list[tuple[str, float]]:
    """At most `size` pieces with their log probabilities, the likeliest first; all characters among them.

    The same whatever the order of `words`, which holds how often each one occurs.
    """
    lattice = seed_lattice(
        words, alphabet, longest=longest, num_seeds=max(SEEDS_PER_TOKEN * size, len(alphabet))
    )
    wanted = int(size * SPARE)
    while True:
        for _ in range(NUM_STEPS):
            lattice = _step(lattice, len(alphabet))
        if len(lattice.pieces) <= wanted:
            return _finish(lattice, len(alphabet), size)
        lattice = _remove(lattice, len(alphabet), max(wanted, int(shrink * len(lattice.pieces))))


def _step(lattice: Lattice, num_characters: int) -> Lattice:
    """One step of EM; rare pieces go, characters (which come first) stay."""
    from scipy.special import digamma

    expected = lattice.expected_counts()
    keep = expected >= LEAST_COUNT
    keep[:num_characters] = True
    lattice, expected = lattice.keep(keep), np.maximum(expected[keep], 1e-10)
    # The variational estimate, as in SentencePiece: rare pieces get less than their share.
    lattice.scores = digamma(np.maximum(expected, LEAST_COUNT / 10)) - digamma(expected.sum())
    return lattice


def _remove(lattice: Lattice, num_characters: int, size: int) -> Lattice:
    """Keep those pieces without which the likelihood of the words would fall most."""
    expected = lattice.expected_counts()
    score_of = dict(zip(lattice.pieces, lattice.scores.tolist(), strict=True))
    loss = np.full(len(lattice.pieces), np.inf)
    for index in range(num_characters, len(lattice.pieces)):
        piece = lattice.pieces[index]
        loss[index] = expected[index] * (score_of[piece] - _without(piece, score_of))
    order = np.argsort(-loss, kind="stable")[:size]
    keep = np.zeros(len(loss), dtype=bool)
    keep[order] = True
    return lattice.keep(keep)


def _without(piece: str, score_of: dict[str, float]) -> float:
    """The score of the likeliest segmentation of a piece into others."""
    best = [0.0] + [-np.inf] * len(piece)
    for end in range(1, len(piece) + 1):
        for start in range(end):
            if end - start < len(piece):
                score = score_of.get(piece[start:end])
                if score is not None and best[start] + score > best[end]:
                    best[end] = best[start] + score
    return best[-1]


def _finish(lattice: Lattice, num_characters: int, size: int) -> list[tuple[str, float]]:
    scores = lattice.scores.copy()
    unused = np.flatnonzero(lattice.expected_counts()[:num_characters] < LEAST_COUNT)
    scores[unused] = scores.min() - PENALTY * np.arange(1, len(unused) + 1)
    others = np.argsort(-scores[num_characters:], kind="stable") + num_characters
    chosen = [*range(num_characters), *others[: max(0, size - num_characters)].tolist()]
    found = [(lattice.pieces[index], round(float(scores[index]), DIGITS)) for index in chosen]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def _count(pipeline: Tokenizer, corpus: Corpus) -> Counter[str]:
    """How often each word that the pre-tokenizer cuts occurs."""
    found: Counter[str] = Counter()
    normalizer, pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    for text in corpus.texts():
        normal = normalizer.normalize_str(text) if normalizer else text
        if pre_tokenizer:
            found.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normal))
        elif normal:
            found[normal] += 1
    return found


def _known_parts(words: Counter[str], alphabet: Sequence[str]) -> dict[str, int]:
    """Words cut where a character is not in the alphabet, which is left out; sorted."""
    known, found = frozenset(alphabet), Counter()
    for word, count in words.items():
        if known.issuperset(word):
            found[word] += count
        else:
            for part in "".join(c if c in known else "\0" for c in word).split("\0"):
                if part:
                    found[part] += count
    return dict(sorted(found.items()))
