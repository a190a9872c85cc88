"""What a tokenizer makes of the texts: how many tokens, what is cut off, what it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from runwright.analysis.explore.survey import batches, texts_of

LIMITS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
MAX_CHARACTERS = 100_000  # of one text: beyond, its tokens are not worth the time
NUM_UNKNOWN = 20  # pieces that are shown


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSurvey:
    """Of a sample of a split's rows, evenly from the whole; lengths are of inputs as a model sees them."""

    num_rows: int
    lengths: np.ndarray  # [N] int64
    num_tokens: int  # without special ones
    num_unknown: int
    unknown: tuple[tuple[str, int], ...]  # pieces that became the unknown token, the most frequent first
    num_words: int
    num_whole_words: int  # words between white space that are one token
    num_characters: int
    used: np.ndarray  # [V] bool, which tokens occur

    def cut_by(self, limit: int) -> tuple[float, float]:
        """Shares of the inputs that are longer than a limit, and of all tokens that lie beyond it."""
        if not self.lengths.any():
            return 0.0, 0.0
        beyond = np.maximum(self.lengths - limit, 0)
        return float((beyond > 0).mean()), float(beyond.sum() / self.lengths.sum())


def survey_tokens(
    rows: Dataset,
    tokenizer: Any,
    *,
    text_columns: Sequence[str],
    each_text: bool,
    max_rows: int,
    on_progress: Callable[[int], None] | None = None,
) -> TokenSurvey:
    """Tokenize at most `max_rows` rows, which are taken evenly from the whole split.

    The texts of a row are one input together, or `each_text` is one.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(max_rows, len(rows))).astype(np.int64))
    sample = rows.select_columns(list(text_columns)).select(chosen, keep_in_memory=True)
    lengths = []
    used = np.zeros(len(tokenizer), dtype=bool)
    sums: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    special = tokenizer.num_special_tokens_to_add(pair=len(text_columns) > 1 and not each_text)
    for start, columns in batches(sample):
        counts = np.stack(
            [
                _tokenize(tokenizer, [(text or "")[:MAX_CHARACTERS] for text in texts], used, sums, unknown)
                for texts in (texts_of(columns[name]).to_pylist() for name in text_columns)
            ]
        )  # [columns, rows]
        inputs = (counts.flatten() if each_text else counts.sum(axis=0)) + special
        lengths.append(inputs)
        if on_progress is not None:
            on_progress(start + counts.shape[1])
    return TokenSurvey(
        num_rows=len(chosen),
        lengths=np.concatenate(lengths) if lengths else np.empty(0, np.int64),
        num_tokens=sums["tokens"],
        num_unknown=sums["unknown"],
        unknown=tuple(unknown.most_common(NUM_UNKNOWN)),
        num_words=sums["words"],
        num_whole_words=sums["whole"],
        num_characters=sums["characters"],
        used=used,
    )


def _tokenize(
    tokenizer: Any, texts: list[str], used: np.ndarray, sums: Counter[str], unknown: Counter[str]
) -> np.ndarray:
    """The number of tokens of each text, [N] int64; adds to the rest."""
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    counts = np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        places = np.array(ids, dtype=np.int64)
        used[places[places < len(used)]] = True
        sums["tokens"] += len(ids)
        sums["characters"] += len(text)
        for place in np.flatnonzero(places == tokenizer.unk_token_id).tolist():
            first, last = offsets[place]
            unknown[text[first:last][:40]] += 1
            sums["unknown"] += 1
        words = text.split()
        sums["words"] += len(words)
        sums["whole"] += _whole_words(text, offsets)
    if len(unknown) > 100_000:  # a text in a script that the tokenizer does not know at all
        for piece, _ in unknown.most_common()[50_000:]:
            del unknown[piece]
    return counts


def _whole_words(text: str, offsets: Sequence[tuple[int, int]]) -> int:
    """How many tokens stand between white space or the ends of the text."""
    whole = 0
    for first, last in offsets:
        # Some tokenizers take the space before a word into its token.
        begin = first
        while begin < last and text[begin].isspace():
            begin += 1
        before = begin == 0 or text[begin - 1].isspace()
        whole += begin < last and before and (last == len(text) or text[last].isspace())
    return whole


def truncation_limits(max_length: int | None, surveys: Mapping[str, TokenSurvey]) -> list[int]:
    """The usual lengths up to the longest text, and the one that is chosen."""
    longest = max((survey.lengths.max(initial=0) for survey in surveys.values()), default=0)
    usual = [limit for limit in LIMITS if limit / 2 < longest]
    return sorted({*usual, *([max_length] if max_length else [])})
