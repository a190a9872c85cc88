"""From texts to token ids: truncated with the loss counted, cut into windows, padded; and to words."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import regex
import torch
from datasets import Dataset

from runwright.dataset.fingerprint import row_numbers
from runwright.errors import DataError, shown
from runwright.types import Batch, Example, Splits

IGNORED = -100  # a label that is not trained on
MAX_WINDOWS = 1 << 16  # of one row: leaves 47 bits of an example id for the row

Span = tuple[int, int]  # first character, one past the last

RowNotes = dict[str, list[int]]
"""Sentences on values that are read as something else than they look, and the rows of each."""


def add_note(notes: RowNotes | None, sentence: str, row: int, *, when: bool = True) -> None:
    if notes is not None and when:
        notes.setdefault(sentence, []).append(row)


def notes_of(notes: Mapping[str, RowNotes], splits: Splits) -> list[str]:
    """The sentences of each split, with how many rows they are about and the first."""
    return [
        f"{split}: {sentence} ({len(rows):,} rows, the first is row {splits[split][rows[0]]['row_id']})"
        for split, sentences in notes.items()
        for sentence, rows in sentences.items()
    ]


def as_texts(values: Iterable[Any], **where: Any) -> list[str]:
    """Values as text, null and NaN as empty text; raises DataError for lists, records and bytes.

    `where` holds the split, row and column that the error names; without a row each value has its own.
    """
    texts = []
    for row, value in enumerate(values):
        if isinstance(value, list | tuple | dict | bytes):
            raise DataError(f"{shown(value)} where a text is expected", **{"row": row, **where})
        is_missing = value is None or (isinstance(value, float) and value != value)  # pandas' NaN
        texts.append("" if is_missing else str(value))
    return texts


def trimmed(text: str, start: int, end: int) -> Span:
    """The span without the spaces around it, which some tokenizers count to their pieces."""
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())


def encode_texts(tokenizer: Any, columns: Mapping[str, Sequence[Any]], *, max_length: int) -> list[Example]:
    """One example for each row of a text column, or of two columns that make a pair.

    An example has `input_ids`, `token_type_ids` for pairs where the tokenizer gives them, and `full_length`,
    the number of tokens before the cut to `max_length` (pairs lose from the longer text first). Raises
    DataError for a row without any token: a model's output for padding alone depends on how much there is.
    """
    texts = [as_texts(values) for values in columns.values()]
    # Types of a single text are all zero, which every model assumes.
    types = None if len(texts) > 1 else False
    options: Any = {"return_attention_mask": False, "return_token_type_ids": types}
    encoded = tokenizer(*texts, verbose=False, **options)
    full_lengths = list(map(len, encoded["input_ids"]))
    if 0 in full_lengths:
        problem = "the text makes no token; drop such rows (dataset.cleaning)"
        raise DataError(problem, row=full_lengths.index(0), column=next(iter(columns)))
    fields = {name: list(encoded[name]) for name in ("input_ids", "token_type_ids") if name in encoded}
    if long_rows := [row for row, length in enumerate(full_lengths) if length > max_length]:
        if len(texts) == 2 and encoded.is_fast:
            for row in long_rows:
                rest = _rest(encoded.sequence_ids(row), max_length, side=tokenizer.truncation_side)
                for values in fields.values():
                    values[row] = [values[row][position] for position in rest]
        else:
            long_texts = [[column[row] for row in long_rows] for column in texts]
            cut = tokenizer(*long_texts, truncation=True, max_length=max_length, **options)
            for name, values in fields.items():
                for row, value in zip(long_rows, cut[name], strict=True):
                    values[row] = value
    return [
        {"full_length": length, **{name: values[row] for name, values in fields.items()}}
        for row, length in enumerate(full_lengths)
    ]


def _rest(sequence_ids: Sequence[int | None], max_length: int, *, side: str) -> list[int]:
    """Positions of a pair's tokens that remain when the longer text is cut first, as tokenizers does it.

    Its own keeps all that it cuts off, each part of one text with each of the other: 6.5 GB at 4,000 words.
    """
    texts = [[at for at, number in enumerate(sequence_ids) if number == text] for text in (0, 1)]
    short, long = sorted(texts, key=len)
    room = max_length - sequence_ids.count(None)
    num_short = min(len(short), room // 2)
    gone: set[int] = set()
    for positions, num in ((short, num_short), (long, room - num_short)):
        gone.update(positions[num:] if side == "right" else positions[: len(positions) - num])
    return [at for at in range(len(sequence_ids)) if at not in gone]


def pad_batch(
    examples: Sequence[Example],
    tokenizer: Any,
    token_fields: Mapping[str, int],
    *,
    pad_to: Callable[[int], int] = int,
    side: str | None = None,
) -> Batch:
    """Padded fields [B, L] int64 that the examples have, and `example_ids`, `groups` [B] int64.

    L is what `pad_to` makes of the longest example's length, at least 1. `token_fields` are more fields with
    one number a token, and the number that pads them. `side` is left or right; None: as the tokenizer pads.
    """
    side = side or tokenizer.padding_side
    length = pad_to(max(1, *(len(example["input_ids"]) for example in examples)))  # models want a token

    def padded(rows: Iterable[Sequence[int]], fill: int) -> torch.Tensor:
        table: list[list[int]] = []
        for row in rows:
            padding = [fill] * (length - len(row))
            table.append([*padding, *row] if side == "left" else [*row, *padding])
        return torch.tensor(table, dtype=torch.int64)

    fills = {"input_ids": tokenizer.pad_token_id, "token_type_ids": 0, **token_fields}
    names = [name for name in fills if name in examples[0]]
    batch: Batch = {name: padded((example[name] for example in examples), fills[name]) for name in names}
    batch["attention_mask"] = padded(([1] * len(example["input_ids"]) for example in examples), 0)
    batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
    if "group" in examples[0]:
        batch["groups"] = torch.tensor([example["group"] for example in examples])
    return batch


def num_targets(examples: Sequence[Example]) -> float:
    """The number of labels that are trained on, or of target tokens where the examples have those."""
    labels = (example["target_ids"] if "target_ids" in example else example["labels"] for example in examples)
    return float(sum(label != IGNORED for of_example in labels for label in of_example))


def special_tokens(tokenizer: Any, *, num_texts: int = 1) -> list[list[int]]:
    """The ids that the tokenizer puts before a text, between two of them, and after."""
    # Its padding stands for a text: one token with every tokenizer, whatever letters it has learned.
    texts = [tokenizer.pad_token] * num_texts
    encoded = tokenizer(*texts, split_special_tokens=False, verbose=False)
    ids, of_text = encoded["input_ids"], encoded.sequence_ids(0)
    borders = [-1, *map(of_text.index, range(num_texts)), len(ids)]
    return [ids[start + 1 : end] for start, end in pairwise(borders)]


def cut_windows(pieces: range, *, size: int, overlap: int) -> list[tuple[range, range]]:
    """Windows of at most `size` pieces, each `size - overlap` after the one before, and what they speak for.

    In an overlap the border lies in the middle, so every piece is judged where it has the most context.
    """
    assert 0 <= overlap < size, (overlap, size)
    starts = [pieces.start]
    while starts[-1] + size < pieces.stop:
        starts.append(starts[-1] + size - overlap)
    ends = [min(start + size, pieces.stop) for start in starts]
    middles = ((end + start) // 2 for end, start in zip(ends[:-1], starts[1:], strict=True))
    borders = [pieces.start, *middles, pieces.stop]
    return [*zip(map(range, starts, ends), map(range, borders[:-1], borders[1:]), strict=True)]


def window_examples(
    row_id: int,
    fields: Mapping[str, Sequence[int]],
    parts: Sequence[int | None],
    *,
    text: int,
    max_before: int,
    max_length: int,
    overlap: int,
) -> Iterator[tuple[list[int], range, Example]]:
    """Examples for the windows of one text of a row, with the tokens of all others around each.

    `fields` and `parts` have a number for each token of the row: `parts` that of its text, None for special
    ones. Of the texts before it `max_before` tokens stay. With each example come the positions in the row of
    its tokens, and of those that the window speaks for.
    """
    inside = [token for token, part in enumerate(parts) if part == text]
    first, end = (inside[0], inside[-1] + 1) if inside else (len(parts), len(parts))
    before = [token for token in range(first) if parts[token] is not None]
    head, tail = sorted({*range(first)} - {*before[max_before:]}), range(end, len(parts))
    size = max(1, max_length - len(head) - len(tail))
    cut = cut_windows(range(first, end), size=size, overlap=min(overlap, size - 1))
    for number, (window, own) in enumerate(cut):
        tokens = [*head, *window, *tail]
        example: Example = {name: [values[token] for token in tokens] for name, values in fields.items()}
        example |= {"example_id": window_id(row_id, number), "full_length": len(parts)}
        yield tokens, own, example


def window_id(row_id: int, window: int) -> int:
    """An example id that is distinct within a split."""
    if window >= MAX_WINDOWS:
        raise DataError(
            f"row {row_id} is cut into more than {MAX_WINDOWS:,} pieces; split its text into rows, such as "
            "by dataset.source.unit=line, or raise task.max_length"
        )
    return row_id * MAX_WINDOWS + window


def rows_of_windows(example_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows [R] of sorted example ids, and the position of the first example of each."""
    return np.unique(example_ids // MAX_WINDOWS, return_index=True)


def sums_of_windows(values: np.ndarray | None, firsts: np.ndarray) -> np.ndarray | None:
    """Sums by row of the values of windows, see `rows_of_windows`."""
    return None if values is None else np.add.reduceat(values, firsts)


def sums_by_row(values: torch.Tensor, mask: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Sums by row of the values [M] of the tokens in a mask [B, L], and their numbers; [B] float64 each."""
    rows = mask.nonzero()[:, 0]
    zeros = torch.zeros(len(mask), dtype=torch.float64, device=values.device)
    counts = torch.bincount(rows, minlength=len(mask)).double()
    return zeros.index_add(0, rows, values.double()).cpu().numpy(), counts.cpu().numpy()


def positions_of(row_ids: np.ndarray, rows: Any) -> np.ndarray:
    """Positions in `rows`, a Dataset or lists by name, of the rows with these ids, [N] int64."""
    ids = row_numbers(rows) if isinstance(rows, Dataset) else np.array(rows["row_id"])
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, row_ids, sorter=order)]


# --- words ------------------------------------------------------------------------------------------------

# Characters that belong to the one before them: vowel signs, accents, joiners.
_MARK = r"[\p{M}\u200c\u200d]"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"  # no spaces between words
_LETTER = rf"(?:(?!{_UNSPACED})[\p{{L}}\p{{N}}_])"
_WORD = regex.compile(
    rf"{_UNSPACED}{_MARK}*|{_LETTER}+(?:{_MARK}+{_LETTER}*)*(?:[.,]\d+{_MARK}*)*"
    rf"|[^\p{{L}}\p{{N}}_\s\x1c-\x1f]{_MARK}*"
)


def split_words(text: str) -> list[Span]:
    """Spans of the words of a text: runs of letters and digits, and each other character but spaces.

    Of scripts that put no space between words each letter is one. Numbers keep their points and
    commas, and every character the marks that combine with it.
    """
    return [match.span() for match in _WORD.finditer(text)]


def shared_pieces(text: str, words: Sequence[Span], begun: Collection[int]) -> list[range]:
    """Runs of words of which only the first is `begun` by a piece, which holds the others as well.

    Such pieces are of scripts without spaces, whose words are letters.
    """
    runs: list[range] = []
    for word in range(1, len(words)) if len(begun) < len(words) else ():
        start = words[word][0]
        if word not in begun and words[word - 1][1] == start and regex.match(_UNSPACED, text[start]):
            first = runs.pop().start if runs and runs[-1].stop == word else word - 1
            runs.append(range(first, word + 1))
    return [run for run in runs if run.start in begun]


def join_words(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The words with a space between them, and the span of each."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), spans


def word_of_pieces(pieces: Sequence[Span], words: Sequence[Span]) -> list[int]:
    """The word in which each piece of a tokenizer begins, -1 where it covers none.

    Both are in the order of the text. A piece may begin with the space before its word.
    """
    numbers, word = [], 0
    for start, end in pieces:
        while word < len(words) and words[word][1] <= start:
            word += 1
        covered = word < len(words) and words[word][0] < end and start < end
        numbers.append(word if covered else -1)
    return numbers
