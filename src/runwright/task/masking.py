"""Chunks of texts, and the tokens that are hidden in them as a function of a seed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from runwright.task.text import IGNORED, as_texts, window_id

LONGEST_WORD = 16  # pieces; longer ones are texts without spaces, as in Chinese


class Chunk(NamedTuple):
    """Neighbouring tokens of one text, or of several that follow one another."""

    example_id: int
    ids: list[int]
    words: list[int]  # of each token, numbered within the chunk; distinct texts have distinct words


def cut_chunks(
    tokenizer: Any, texts: Sequence[Any], row_ids: Sequence[int], *, size: int, join_rows: bool
) -> Iterator[Chunk]:
    """Chunks of `size` tokens without special ones; the last one of a text, or of all texts, may be shorter.

    With `join_rows` texts run on into one another; otherwise each begins a chunk of its own. A text without a
    token makes none.
    """
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    encoded = tokenizer(as_texts(texts), **options)
    tokens: list[tuple[int, int, int]] = []  # id, word, row
    first_word = 0
    counts: dict[int, int] = {}  # of chunks, by the row in which they begin

    def chunk(tokens: Sequence[tuple[int, int, int]]) -> Chunk:
        ids, words, rows = zip(*tokens, strict=True)
        number = counts[rows[0]] = counts.get(rows[0], -1) + 1
        return Chunk(window_id(rows[0], number), [*ids], [word - words[0] for word in words])

    for row, row_id in enumerate(row_ids):
        words = [-1 if word is None else word for word in encoded.word_ids(row)]
        ids = encoded["input_ids"][row]
        tokens += [(i, first_word + word, row_id) for i, word in zip(ids, words, strict=True)]
        first_word += max(words, default=-1) + 1
        while len(tokens) >= size:
            yield chunk(tokens[:size])
            tokens = tokens[size:]
        if tokens and not join_rows:
            yield chunk(tokens)
            tokens = []
    if tokens:
        yield chunk(tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """Options of hiding tokens: Devlin et al. 2019, "BERT", 3.1; whole words: the authors' later release."""

    probability: float  # share of the tokens that are hidden
    mask_share: float  # of the hidden ones: replaced by the mask
    random_share: float  # of the hidden ones: replaced by a random token; the rest stay as they are
    whole_words: bool
    mask_token_id: int
    random_ids: np.ndarray  # [R] int64, what a random token may be

    def apply(
        self, input_ids: Sequence[int], words: Sequence[int], *, chance: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Input ids with some hidden, and labels: the hidden tokens, -100 elsewhere.

        `words` numbers the word of each token, -1 where a token may not be hidden. At least one is hidden
        where there is one; the number follows from the length, not from chance.
        """
        ids, marks = np.array(input_ids), np.asarray(words)
        positions = self._positions(marks, chance)
        labels = np.full(len(ids), IGNORED)
        labels[positions] = ids[positions]
        draw = chance.random(len(positions))
        masked = positions[draw < self.mask_share]
        swapped = positions[(draw >= self.mask_share) & (draw < self.mask_share + self.random_share)]
        ids[masked] = self.mask_token_id
        ids[swapped] = chance.choice(self.random_ids, size=len(swapped))
        return ids.tolist(), labels.tolist()

    def _positions(self, words: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Positions to hide, sorted."""
        free = np.flatnonzero(words >= 0)
        wanted = max(1, round(self.probability * len(free)))
        if not self.whole_words:
            return np.sort(chance.permutation(free)[:wanted])
        words = _long_words_cut(words, wanted)
        positions: list[int] = []
        for word in chance.permutation(np.unique(words[free])):
            pieces = np.flatnonzero(words == word)
            if len(positions) + len(pieces) <= wanted or not positions:
                positions.extend(pieces.tolist())
            if len(positions) >= wanted:
                break
        return np.sort(np.array(positions, dtype=np.int64))


def _long_words_cut(words: np.ndarray, wanted: int) -> np.ndarray:
    """Word numbers where each piece of a word that cannot be hidden whole is a word.

    Such a word has more pieces than are wanted, and is all there is or longer than words are.
    """
    _, numbers, counts = np.unique(words, return_inverse=True, return_counts=True)
    sizes, num_free = counts[numbers], np.count_nonzero(words >= 0)
    is_long = (sizes > wanted) & ((sizes > LONGEST_WORD) | (sizes == num_free))
    return np.where((words >= 0) & is_long, words.max(initial=-1) + 1 + np.arange(len(words)), words)


def generator(*parts: int | str) -> np.random.Generator:
    """Random numbers that depend on the parts alone."""
    digest = blake2b("/".join(map(str, ("mask", *parts))).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
