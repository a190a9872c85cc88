"""Survey of the tokens of a split: lengths, truncation, unknown pieces, vocabulary in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from runwright.analysis.explore.survey import batches, texts_of

MAX_CHARACTERS = 100_000  # of one text: beyond, its tokens are not worth the time
MAX_PIECES = 100_000  # different unknown ones: a text may be in a script that the tokenizer does not know


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSurvey:
    """Counts over a sample of a split's rows, evenly from the whole, without special tokens."""

    num_rows: int
    used: np.ndarray  # [V] bool, the tokens that occur
    lengths: np.ndarray  # [N] int64, of inputs as a model sees them: with special tokens
    sums: Counter[str] = field(default_factory=Counter)  # tokens, unknown, words (between spaces), characters
    unknown: Counter[str] = field(default_factory=Counter)  # pieces that became the unknown token

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
    separate_texts: bool,
    max_rows: int,
    on_progress: Callable[[int], None],
) -> TokenSurvey:
    """Tokenize at most `max_rows` rows, which are taken evenly from the whole split.

    The texts of a row are one input together, or with `separate_texts` an input each.
    """
    positions = np.unique(np.linspace(0, len(rows) - 1, min(max_rows, len(rows))).astype(np.int64))
    sample = rows.select_columns(list(text_columns)).select(positions, keep_in_memory=True)
    special = tokenizer.num_special_tokens_to_add(pair=len(text_columns) > 1 and not separate_texts)
    used, sums, unknown = np.zeros(len(tokenizer), dtype=bool), Counter(), Counter()
    lengths = [np.empty(0, np.int64)]
    for start, columns in batches(sample):
        counts = []  # [columns, rows]
        for name in text_columns:
            texts = [(text or "")[:MAX_CHARACTERS] for text in texts_of(columns[name]).to_pylist()]
            counts.append(_tokenize(tokenizer, texts, used, sums, unknown))
        lengths.append((np.concatenate(counts) if separate_texts else np.sum(counts, axis=0)) + special)
        on_progress(start + len(counts[0]))
    return TokenSurvey(
        num_rows=len(positions), lengths=np.concatenate(lengths), sums=sums, unknown=unknown, used=used
    )


def _tokenize(
    tokenizer: Any, texts: list[str], used: np.ndarray, sums: Counter[str], unknown: Counter[str]
) -> np.ndarray:
    """The number of tokens of each text, [N] int64; adds to `used`, `sums` and `unknown`."""
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        tokens = np.array(ids, dtype=np.int64)
        used[tokens[tokens < len(used)]] = True
        unknown_positions = np.flatnonzero(tokens == tokenizer.unk_token_id).tolist()
        words, characters = len(text.split()), len(text)
        sums.update(tokens=len(ids), unknown=len(unknown_positions), words=words, characters=characters)
        for first, last in (offsets[position] for position in unknown_positions):
            piece = text[first:last][:40]
            if piece in unknown or len(unknown) < MAX_PIECES:
                unknown[piece] += 1
    return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
