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
    num_old: int  # of its first tokens, which are in the chunk before as well, or begin the text
    num_bytes: int  # of the texts, behind the old tokens, in UTF-8; with an end token


def cut_chunks(
    tokenizer: Any,
    texts: Sequence[Any],
    row_ids: Sequence[int],
    *,
    size: int,
    join_rows: bool,
    overlap: int = 0,
    start: Sequence[int] = (),
    end: Sequence[int] = (),
) -> Iterator[Chunk]:
    """Chunks of `size` tokens without special ones; the last one of a text, or of all texts, may be shorter.

    With `join_rows` texts run on into one another; otherwise each begins a chunk of its own. `start` begins
    what runs on, `end` comes behind each text, and a chunk repeats `overlap` tokens of the one before. A text
    without a token makes none.
    """
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    encoded = tokenizer(as_texts(texts), **options, return_offsets_mapping=bool(end))
    counts: dict[int, int] = {}  # of chunks, by the row in which they begin
    pending, num_old = np.empty((0, 4), dtype=np.int64), len(start)  # id, word, row, bytes
    first_word = 0

    def chunk(tokens: np.ndarray) -> Chunk:
        row = int(tokens[0, 2])
        number = counts[row] = counts.get(row, -1) + 1
        ids, words = tokens[:, 0].tolist(), (tokens[:, 1] - tokens[0, 1]).tolist()
        return Chunk(window_id(row, number), ids, words, num_old, int(tokens[num_old:, 3].sum()))

    for row, row_id in enumerate(row_ids):
        ids = encoded["input_ids"][row]
        if not ids:
            continue
        words = [-1 if word is None else word for word in encoded.word_ids(row)]
        sizes = np.zeros(len(ids) + len(end), dtype=np.int64)
        if end:
            sizes[: len(ids) + 1] = _bytes_of(str(texts[row]), encoded["offset_mapping"][row])
        before = [] if len(pending) else start
        tokens = np.full((len(before) + len(sizes), 4), row_id)
        tokens[:, 0] = [*before, *ids, *end]
        tokens[:, 1] = first_word + np.array([*(0 for _ in before), *words, *(words[-1] for _ in end)])
        tokens[:, 3] = [*(0 for _ in before), *sizes.tolist()]
        first_word += max(words) + 1
        pending, first = np.concatenate([pending, tokens]), 0
        while len(pending) - first >= size:
            yield chunk(pending[first : first + size])
            first, num_old = first + size - overlap, overlap
        pending = pending[first:]
        if not join_rows:
            if len(pending) > num_old:
                yield chunk(pending)
            pending, num_old = pending[:0], len(start)
    if len(pending) > num_old:
        yield chunk(pending)


def _bytes_of(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Bytes of a text in UTF-8 up to the end of each token from that of the one before, and the rest."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    sizes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    until = np.concatenate([[0], np.cumsum(sizes)])
    ends = np.maximum.accumulate(until[[*(end for _, end in offsets), len(text)]])
    return np.diff(ends, prepend=0)


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
