"""When two texts are nearly the same: what is left of them without case, spaces and punctuation is equal."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset

_BETWEEN = re.compile(r"[\W_]+")


def bare(text: str) -> str:
    """Letters and digits only, in one case and one form; a text that has none of them stays as it is."""
    if text.isascii():
        return _BETWEEN.sub("", text).lower() or text.strip()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _BETWEEN.sub("", folded) or text.strip()


def key_of(values: Sequence[str]) -> bytes:
    """16 bytes for some texts, which no other texts have."""
    hasher = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value.encode("utf-8", "surrogatepass")
        hasher.update(len(content).to_bytes(8, "little") + content)
    return hasher.digest()


def near_keys(rows: Dataset, columns: Sequence[str]) -> Iterator[bytes]:
    """A 16-byte hash of each row's bare texts in these columns."""
    batches: Any = rows.select_columns(list(columns)).iter(batch_size=1000)
    for batch in batches:
        for values in zip(*(batch[column] for column in columns), strict=True):
            yield key_of([bare("" if value is None else str(value)) for value in values])
