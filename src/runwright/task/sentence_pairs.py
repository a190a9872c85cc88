"""Pairs of texts that follow one another, or do not, as in next-sentence prediction (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from runwright.errors import ConfigError
from runwright.task.masking import generator
from runwright.task.text import as_texts, window_id
from runwright.types import Example

NOT_A_WORD = -1  # of special tokens, see `Masking`


class Frame(NamedTuple):
    """Special tokens around and between two texts."""

    before: list[int]
    between: list[int]
    after: list[int]

    @classmethod
    def of(cls, tokenizer: Any) -> Frame:
        pad = tokenizer.pad_token  # stands for a text, see `special_tokens`
        encoded = tokenizer(pad, pad, split_special_tokens=False, verbose=False)
        ids, texts = encoded["input_ids"], encoded.sequence_ids(0)
        first, second = texts.index(0), texts.index(1)
        if second == first + 1:
            raise ConfigError("tokenizer: it puts no token between two texts, which task.next_sentence needs")
        return cls(ids[:first], ids[first + 1 : second], ids[second + 1 :])

    def example(self, first: np.ndarray, second: np.ndarray) -> dict[str, list[int]]:
        """Fields of a pair of texts [L, 2] of ids and words."""
        special = [np.array([[token, NOT_A_WORD] for token in ids]).reshape(-1, 2) for ids in self]
        second = second + np.array([0, first[:, 1].max(initial=0) + 1])  # words of two texts are distinct
        tokens = np.concatenate([special[0], first, special[1], second, special[2]]).astype(np.int64)
        num_first = len(self.before) + len(first) + len(self.between)
        types = [int(index >= num_first) for index in range(len(tokens))]
        return {
            "input_ids": tokens[:, 0].tolist(),
            "words": tokens[:, 1].tolist(),
            "token_type_ids": types,
        }


def encode_pairs(
    tokenizer: Any, texts: Sequence[Any], row_ids: Sequence[int], *, max_length: int, join_rows: bool
) -> list[Example]:
    """Examples of two neighbouring texts each; their fields `other_…` are of the first with a strange one.

    Every token is in one pair. With `join_rows` both texts are of as many rows as have room, otherwise of
    one. A row without a token ends a document, which no pair crosses; a text that is alone, or too long, is a
    pair of its halves, and a token alone is left out. The strange text is the second of another pair of these
    rows; where none has room, the example has no other.
    """
    frame = Frame.of(tokenizer)
    room = max_length - sum(map(len, frame))
    pairs = list(_pairs(tokenizer, as_texts(texts), row_ids, room=room, join_rows=join_rows))
    examples: list[Example] = []
    for number, (example_id, first, second) in enumerate(pairs):
        fields = frame.example(first, second)
        order = generator("strange", example_id).permutation(len(pairs))
        others = (pairs[i][2] for i in order if i != number and len(first) + len(pairs[i][2]) <= room)
        other = next(others, None)
        strange = {} if other is None else frame.example(first, other)
        examples.append(
            {
                "example_id": example_id,
                "full_length": len(fields["input_ids"]),
                "has_masks": int(tokenizer.mask_token_id in (*first[:, 0], *second[:, 0])),
                **fields,
                **{f"other_{name}": strange.get(name, []) for name in fields},
            }
        )
    return examples


def with_second(example: Example, *, seed: int, epoch: int) -> Example:
    """The example with its own second text or the strange one, each half of the time, and `next_label`.

    0 is the text that follows, as in transformers' models.
    """
    chance = generator("next", seed, epoch, example["example_id"])
    if chance.random() < 0.5 or not example["other_input_ids"]:
        return {**example, "next_label": 0}
    names = ("input_ids", "words", "token_type_ids")
    return {**example, **{name: example[f"other_{name}"] for name in names}, "next_label": 1}


def _pairs(
    tokenizer: Any, texts: Sequence[str], row_ids: Sequence[int], *, room: int, join_rows: bool
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """An example id and two texts [L, 2] of ids and words, of at most `room` tokens together."""
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    counts: dict[int, int] = {}
    waiting: list[tuple[int, np.ndarray]] = []  # rows and texts of the next pair

    def pair() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        if not waiting or (len(waiting) == 1 and len(waiting[0][1]) < 2):
            return
        row = waiting[0][0]
        number = counts[row] = counts.get(row, -1) + 1
        example_id = window_id(row, number)
        parts = [tokens for _, tokens in waiting]
        if len(parts) == 1:
            parts = [parts[0][: len(parts[0]) // 2], parts[0][len(parts[0]) // 2 :]]
        border = int(generator("border", example_id).integers(1, len(parts)))
        yield example_id, _joined(parts[:border]), _joined(parts[border:])

    for row, row_id in enumerate(row_ids):
        words = [-1 if word is None else word for word in encoded.word_ids(row)]
        tokens = np.array([encoded["input_ids"][row], words], dtype=np.int64).T
        pieces = [tokens[start : start + room] for start in range(0, len(tokens), room)]
        for piece in pieces or [tokens]:
            size = sum(len(other) for _, other in waiting)
            if not len(piece) or size + len(piece) > room or (not join_rows and len(waiting) == 2):
                yield from pair()
                waiting.clear()
            if len(piece):
                waiting.append((row_id, piece))
    yield from pair()


def _joined(texts: Sequence[np.ndarray]) -> np.ndarray:
    """Texts one after another, with words of their own."""
    starts = np.cumsum([0, *(text[:, 1].max(initial=-1) + 1 for text in texts)])
    shifted = [text + np.array([0, start]) for text, start in zip(texts, starts, strict=False)]
    return np.concatenate(shifted)
