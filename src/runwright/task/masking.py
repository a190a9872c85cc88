"""Chunks and pairs of texts, and the tokens hidden in them as a function of a seed and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from runwright.errors import ConfigError
from runwright.task.text import IGNORED, as_texts, special_tokens, window_id
from runwright.types import Example

LONGEST_WORD = 16  # pieces; longer ones are texts without spaces, as in Chinese
NOT_A_WORD = -1  # of special tokens, see `Masking`
PAIR_FIELDS = ("input_ids", "words", "token_type_ids")

Token = tuple[int, int]  # its id and the number of its word


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
    if size < 1:
        raise ConfigError("task.max_length leaves no room for a token beside the special ones; raise it")
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
        if not (ids := encoded["input_ids"][row]):
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
    return np.diff(np.maximum.accumulate(until[[*(end for _, end in offsets), len(text)]]), prepend=0)


def encode_pairs(
    tokenizer: Any, texts: Sequence[Any], row_ids: Sequence[int], *, max_length: int, join_rows: bool
) -> list[Example]:
    """Examples of two neighbouring texts each; their fields `other_…` are of the first with a strange one.

    As in next-sentence prediction (Devlin et al. 2019). Every token is in one pair. With `join_rows` both
    texts are of as many rows as have room, otherwise of one. A row without a token ends a document, which no
    pair crosses; a text that is alone, or too long, is a pair of its halves, and a token alone is left out.
    The strange text is the second of another pair of these rows; where none has room, there is no other.
    """
    before, between, after = frame = special_tokens(tokenizer, num_texts=2)
    if not between:
        raise ConfigError("tokenizer: it puts no token between two texts, which task.next_sentence needs")
    room = max_length - sum(map(len, frame))

    def fields(first: Sequence[Token], second: Sequence[Token]) -> dict[str, list[int]]:
        marks = [[(token, NOT_A_WORD) for token in ids] for ids in (before, between, after)]
        halves = [*marks[0], *first, *marks[1]], [*second, *marks[2]]
        tokens = [(*token, number) for number, half in enumerate(halves) for token in half]
        return dict(zip(PAIR_FIELDS, map(list, zip(*tokens, strict=True)), strict=True))

    pairs = list(_pairs(tokenizer, as_texts(texts), row_ids, room=room, join_rows=join_rows))
    examples: list[Example] = []
    for number, (example_id, first, second) in enumerate(pairs):
        example: Example = {"example_id": example_id, **fields(first, second)}
        order = generator("strange", example_id).permutation(len(pairs))
        others = (pairs[i][2] for i in order if i != number and len(first) + len(pairs[i][2]) <= room)
        other = next(others, None)
        strange = {} if other is None else fields(first, other)
        example |= {f"other_{name}": strange.get(name, []) for name in PAIR_FIELDS}
        masks = int(tokenizer.mask_token_id in (token for token, _ in (*first, *second)))
        examples.append(example | {"full_length": len(example["input_ids"]), "has_masks": masks})
    return examples


def with_second(example: Example, *, seed: int, epoch: int) -> Example:
    """The example with its own second text (`next_label` 0) or the strange one (1), each half of the time."""
    chance = generator("next", seed, epoch, example["example_id"])
    if chance.random() < 0.5 or not example["other_input_ids"]:
        return {**example, "next_label": 0}
    return {**example, **{name: example[f"other_{name}"] for name in PAIR_FIELDS}, "next_label": 1}


def _pairs(
    tokenizer: Any, texts: Sequence[str], row_ids: Sequence[int], *, room: int, join_rows: bool
) -> Iterator[tuple[int, list[Token], list[Token]]]:
    """An example id and two texts of at most `room` tokens together; no two rows have a word in common."""
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    groups: list[list[tuple[int, list[Token]]]] = [[]]  # rows and texts of each pair
    first_word = 0
    for row, row_id in enumerate(row_ids):
        words = [NOT_A_WORD if word is None else first_word + word for word in encoded.word_ids(row)]
        first_word = max([first_word, *(word + 1 for word in words)])
        tokens = list(zip(encoded["input_ids"][row], words, strict=True))
        for start in range(0, max(1, len(tokens)), room):
            piece = tokens[start : start + room]
            size = sum(len(text) for _, text in groups[-1])
            if not piece or size + len(piece) > room or (not join_rows and len(groups[-1]) == 2):
                groups.append([])
            groups[-1] += [(row_id, piece)] if piece else []
    counts: dict[int, int] = {}
    for group in groups:
        parts = [text for _, text in group]
        if len(parts) == 1:
            half = len(parts[0]) // 2
            parts = [parts[0][:half], parts[0][half:]] if half else []
        if parts:
            row_id = group[0][0]
            number = counts[row_id] = counts.get(row_id, -1) + 1
            example_id = window_id(row_id, number)
            border = int(generator("border", example_id).integers(1, len(parts)))
            yield example_id, [*chain(*parts[:border])], [*chain(*parts[border:])]


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
