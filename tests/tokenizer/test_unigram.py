"""The unigram trainer against all segmentations by hand, and against the trainer of `tokenizers`."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from runwright.tokenizer.lattice import seed_lattice
from runwright.tokenizer.unigram import learn

WORDS = {"abab": 3, "aba": 2, "b": 4, "cab": 1, "abc": 2}


def segmentations(word: str, pieces: set[str]) -> Iterator[list[str]]:
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        ends = [index + 1 for index, is_cut in enumerate(cuts) if is_cut] + [len(word)]
        parts = [word[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if pieces.issuperset(parts):
            yield parts


def test_expected_counts_are_those_of_all_segmentations() -> None:
    lattice = seed_lattice(dict(sorted(WORDS.items())), ["a", "b", "c"], longest=4, num_seeds=100)
    score = dict(zip(lattice.pieces, lattice.scores.tolist(), strict=True))
    expected = dict.fromkeys(lattice.pieces, 0.0)
    for word, count in WORDS.items():
        found = [(parts, math.exp(sum(map(score.get, parts)))) for parts in segmentations(word, set(score))]  # type: ignore[arg-type]
        total = sum(weight for _, weight in found)
        for parts, weight in found:
            for part in parts:
                expected[part] += count * weight / total
    assert lattice.expected_counts() == pytest.approx(np.array(list(expected.values())), rel=1e-12)


def test_seeds_are_the_substrings_that_occur_twice() -> None:
    lattice = seed_lattice(dict(sorted(WORDS.items())), ["a", "b", "c"], longest=3, num_seeds=100)
    # abab ×3 (ab ×2, ba, aba, bab), aba ×2 (ab, ba, aba), cab ×1 (ca, ab: ca once), abc ×2 (ab, bc, abc)
    assert set(lattice.pieces) == {"a", "b", "c", "ab", "ba", "bc", "aba", "bab", "abc"}


def test_keeping_pieces_leaves_the_others_counts_right() -> None:
    lattice = seed_lattice(dict(sorted(WORDS.items())), ["a", "b", "c"], longest=4, num_seeds=100)
    chosen = np.array([len(piece) < 3 for piece in lattice.pieces])
    fewer = lattice.keep(chosen)
    direct = seed_lattice(dict(sorted(WORDS.items())), ["a", "b", "c"], longest=2, num_seeds=100)
    direct.scores = fewer.scores
    assert fewer.pieces == direct.pieces
    assert fewer.expected_counts() == pytest.approx(direct.expected_counts(), rel=1e-12)


def test_the_pieces_fit_as_well_as_those_of_the_library() -> None:
    chance = random.Random(0)
    syllables = ["ka", "to", "mi", "ren", "su", "lo", "ba", "fi"]
    vocabulary = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(150)]
    words = chance.choices(vocabulary, weights=[1 / (rank + 1) for rank in range(150)], k=4000)
    text = " ".join(words)
    counts = {word: words.count(word) for word in sorted(set(words))}
    pieces = learn(counts, sorted(set(text) - {" "}), size=99, longest=16, shrink=0.75)
    own = Tokenizer(models.Unigram([("?", 0.0), *pieces], unk_id=0))
    theirs = Tokenizer(models.Unigram())
    for each in (own, theirs):
        each.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=["?"], unk_token="?", show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    lengths = [len(each.encode(text).ids) for each in (own, theirs)]
    assert lengths[0] <= 1.03 * lengths[1]


def test_scores_are_log_probabilities() -> None:
    scores = dict(learn(WORDS, ["a", "b", "c"], size=6, longest=4, shrink=0.75))
    assert {"a", "b", "c"} <= scores.keys()
    assert len(scores) <= 6
    assert sum(map(math.exp, scores.values())) <= 1 + 1e-6
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
