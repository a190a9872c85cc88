"""A question with each window of its context, and the tokens that an answer covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runwright.task.answers.columns import UNKNOWN
from runwright.task.text import IGNORED
from runwright.task.windows import cut_windows, window_id
from runwright.types import Example

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A question and its whole context as the tokenizer put them together."""

    ids: list[int]
    parts: list[int | None]  # of each token: 0 the question, 1 the context, None neither
    offsets: list[Span]  # characters within the part
    types: list[int] | None  # token types, where the tokenizer gives some


def windows_of(
    row_id: int,
    whole: Encoded,
    *,
    answer: Span | None,
    max_length: int,
    overlap: int,
    max_question_length: int,
) -> list[Example]:
    """One example for each window of the context, with the beginning of the question before each.

    `starts` and `ends` hold for each token of the context its characters, -1 for the others. With an answer
    (its characters, or why there is none) `start` and `end` are its first and last token, 0 where the window
    does not have all of it, -100 where nobody knows.
    """
    context = [place for place, part in enumerate(whole.parts) if part == 1]
    first, last = (context[0], context[-1] + 1) if context else (len(whole.ids), len(whole.ids))
    question = [place for place in range(first) if whole.parts[place] == 0]
    dropped = set(question[max_question_length:])
    head = [place for place in range(first) if place not in dropped]
    tail = list(range(last, len(whole.ids)))
    size = max(1, max_length - len(head) - len(tail))
    examples: list[Example] = []
    for number, cut in enumerate(cut_windows(last - first, size=size, overlap=min(overlap, size - 1))):
        places = [*head, *range(first + cut.start, first + cut.end), *tail]
        inside = [whole.parts[place] == 1 for place in places]
        example: Example = {
            "example_id": window_id(row_id, number),
            "full_length": len(whole.ids),
            "input_ids": [whole.ids[place] for place in places],
            "starts": [
                whole.offsets[place][0] if own else -1 for place, own in zip(places, inside, strict=True)
            ],
            "ends": [
                whole.offsets[place][1] if own else -1 for place, own in zip(places, inside, strict=True)
            ],
        }
        if whole.types is not None:
            example["token_type_ids"] = [whole.types[place] for place in places]
        if answer is not None:
            tokens = None if answer == UNKNOWN else tokens_of(answer, whole.offsets[first:last])
            example["start"], example["end"] = _labels(tokens, cut.start, cut.end, len(head), answer)
        examples.append(example)
    return examples


def tokens_of(answer: Span, offsets: Sequence[Span]) -> Span | None:
    """The first and the last token that hold characters of an answer; None where none does."""
    covering = [
        place
        for place, (start, end) in enumerate(offsets)
        if start < end and start < answer[1] and answer[0] < end
    ]
    return (covering[0], covering[-1]) if covering else None


def _labels(tokens: Span | None, start: int, end: int, shift: int, answer: Span) -> Span:
    if answer == UNKNOWN:
        return IGNORED, IGNORED
    if tokens is None or tokens[0] < start or tokens[1] >= end:
        return 0, 0
    return tokens[0] - start + shift, tokens[1] - start + shift
