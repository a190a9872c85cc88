"""Survey of one split: hashes, lengths, oddities and tokens of its texts, labels, columns, repeated rows."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.fingerprint import bare, key_of
from runwright.dataset.readers.raw import ROW_ID
from runwright.predictions import evenly_spaced
from runwright.report.terminal import shorten
from runwright.tokenizer.statistics import Statistics, measure

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

BATCH_ROWS = 1000
MAX_EXAMPLES = 5
MAX_VALUES = 5  # of a column, the most frequent ones
MAX_VALUE = 200  # characters
MAX_CHARACTERS = 100_000  # of one text: beyond, its tokens are not worth the time
MAX_PIECES = 100_000  # different unknown ones: a text may be in a script that the tokenizer does not know
MAX_CLASSES = 10_000  # more different labels are no classes
NO_VALUE = 0  # in place of a hash
VERY_LONG = 10_000  # characters

# UTF-8 that was read as Latin-1 or Windows-1252: a leading byte, then trailing ones. Of Latin letters, signs
# and emoji one is enough; of other characters two in a row, as in any word.
_TRAIL = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_GARBLED = (
    f"Ã{_TRAIL}|Â[\xa0-\xbf]|â[\x80\x82\x84€‚„]{_TRAIL}|ð{_TRAIL}{{3}}|ï¿½|ï»¿"
    f"|(?:[Â-ß]{_TRAIL}|[à-ï]{_TRAIL}{{2}}){{2}}"
)


class Oddity(NamedTuple):
    """One way in which a text looks wrong."""

    name: str
    says: str  # "N texts of SPLIT …"
    hint: str
    pattern: str = ""  # of RE2; matches the texts


_LINK = r"(https?://|www\.)\S+"
ODDITIES = (
    Oddity("empty", "are empty", "DropEmpty drops them"),
    Oddity(
        "garbled",
        "look garbled, as read in the wrong encoding",
        "dataset.source.encoding is the file's own, or the source is damaged",
        f"\ufffd|{_GARBLED}",
    ),
    Oddity("tags", "have HTML tags", "ReplacePattern removes them", r"</?[A-Za-z][^<>]*>"),
    Oddity(
        "entities",
        "have HTML entities",
        "UnescapeHtml turns them into characters",
        r"&(#\d{1,6}|#x[0-9a-fA-F]{1,5}|[A-Za-z]{2,8});",
    ),
    Oddity(
        "links",
        "are links and nothing else",
        "FilterPattern with keep: false drops them",
        rf"^\s*{_LINK}(\s+{_LINK})*\s*$",
    ),
    Oddity(
        "controls",
        "have control characters",
        "ReplacePattern removes them",
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    ),
    Oddity(
        "invisible",
        "have invisible characters (zero width, direction marks)",
        "ReplacePattern removes them",
        "[\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]",
    ),
    Oddity(
        "mixed_alphabets",
        "mix Latin with Cyrillic or Greek letters within a word",
        "look-alike letters are other tokens; ReplacePattern makes them the same",
        r"[A-Za-z][\x{0370}-\x{04ff}]|[\x{0370}-\x{04ff}][A-Za-z]",
    ),
    Oddity(
        "very_long",
        f"have more than {VERY_LONG:,} characters",
        "FilterLength drops them; is a quote not closed?",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnSurvey:
    """Counts over the values of one column."""

    kind: str
    num: int
    nulls: int
    distinct: int  # null not counted
    common: tuple[tuple[str, int], ...]  # the most frequent values, without null
    numbers: np.ndarray  # [N] float64, the finite ones; empty for a column of other values


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSurvey:
    """Counts over one split of N rows; positions are those of its rows.

    Hashes have 64 bits: among 10^7 rows the chance that any two texts share one is 3e-6.
    """

    split: str
    num_rows: int
    columns: dict[str, ColumnSurvey]
    characters: np.ndarray  # [N * text columns] int64
    words: np.ndarray  # [N * text columns] int64
    exact: np.ndarray  # [N] uint64, hashes of the texts; empty without text columns, as the next two are
    near: np.ndarray  # [N] uint64, hashes of the texts without case, spaces and punctuation
    label_hashes: np.ndarray  # [N] uint64, of all labels of a row; NO_VALUE where there is none
    odd: dict[str, np.ndarray]  # positions of the texts by the name of their oddity
    labels: Counter[str]  # empty where there are more than MAX_CLASSES
    unlabelled: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSurvey:
    """Counts over a sample of a split's rows, evenly from the whole."""

    num_rows: int
    counts: Statistics
    lengths: np.ndarray  # [N] int64, of inputs as a model sees them: with special tokens
    unknown: Counter[str]  # pieces that became the unknown token

    def cut_by(self, limit: int) -> tuple[float, float]:
        """Shares of the inputs that are longer than a limit, and of all tokens that lie beyond it."""
        if not self.lengths.any():
            return 0.0, 0.0
        beyond = np.maximum(self.lengths - limit, 0)
        return float((beyond > 0).mean()), float(beyond.sum() / self.lengths.sum())


class Overlap(NamedTuple):
    """Rows of `split` whose texts are also in `other`; both are the same for rows within a split."""

    split: str
    other: str
    kind: str  # exact, near; labels: equal texts of a split with different labels
    rows: int  # of `split`; within a split without the first of each
    examples: tuple[tuple[int, int], ...]  # positions in `split` and in `other`, one for each text
    texts: int = 0  # with different labels


def survey(
    rows: Dataset,
    *,
    split: str,
    text_columns: Sequence[str],
    label_column: str | None,
    labels_of: Callable[[Any], list[str]],
) -> SplitSurvey:
    """Read texts and labels, then the columns one by one.

    `labels_of` turns a value of the label column into labels, none where it is missing.
    """
    labels: Counter[str] = Counter()
    odd: dict[str, list[np.ndarray]] = defaultdict(list)
    blocks = [_describe([pa.array([], pa.large_string())], [])]  # arrays of the right types, if no row comes
    names = list(dict.fromkeys(name for name in (*text_columns, label_column) if name))
    for start, batch in batches(rows.select_columns(names)) if text_columns else ():
        texts = [texts_of(batch[name]) for name in text_columns]
        values = batch[label_column].to_pylist() if label_column else [None] * len(texts[0])
        blocks.append(_describe(texts, row_labels := list(map(labels_of, values))))
        for name, positions in (item for column in texts for item in find_odd(column).items()):
            odd[name].append(positions + start)
        if len(labels) <= MAX_CLASSES:
            labels.update(label for names in row_labels for label in names)
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return SplitSurvey(
        split=split,
        num_rows=len(rows),
        columns={name: survey_column(rows, name) for name in rows.column_names if name != ROW_ID},
        odd={name: np.concatenate(positions) for name, positions in odd.items()},
        labels=labels if len(labels) <= MAX_CLASSES else Counter(),
        unlabelled=0 if label_column is None else int((joined["label_hashes"] == NO_VALUE).sum()),
        **joined,
    )


def _describe(columns: Sequence[pa.Array], labels: Sequence[list[str]]) -> dict[str, np.ndarray]:
    """The arrays of SplitSurvey for some rows, from their texts and labels."""
    words = [pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column)) for column in columns]
    rows = list(zip(*([text or "" for text in column.to_pylist()] for column in columns), strict=True))
    return {
        "characters": np.concatenate([_lengths(pc.utf8_length(column)) for column in columns]),
        "words": np.concatenate([_lengths(pc.list_value_length(column)) for column in words]),
        "exact": hashes_of(rows),
        "near": hashes_of([bare(text) for text in row] for row in rows),
        "label_hashes": hashes_of(names or None for names in labels),
    }


def survey_column(rows: Dataset, name: str) -> ColumnSurvey:
    """Count the different values of a column by their hashes."""
    kind = rows.features.arrow_schema.field(name).type
    hashes, numbers = [np.empty(0, np.uint64)], [np.empty(0)]
    for values in (batch[name] for _, batch in batches(rows.select_columns([name]))):
        hashes.append(hashes_of(value_texts(values)))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            floats = values.to_numpy(zero_copy_only=False).astype(np.float64)
            numbers.append(floats[np.isfinite(floats)])
    different, first, counts = np.unique(np.concatenate(hashes), return_index=True, return_counts=True)
    first, counts = first[different != NO_VALUE], counts[different != NO_VALUE]
    order = np.lexsort((first, -counts))[:MAX_VALUES]
    top = rows.select_columns([name]).select(first[order], keep_in_memory=True)
    texts = [shorten(str(text), MAX_VALUE) for _, batch in batches(top) for text in value_texts(batch[name])]
    return ColumnSurvey(
        kind=str(kind),
        num=len(rows),
        nulls=len(rows) - int(counts.sum()),
        distinct=len(counts),
        common=tuple(zip(texts, counts[order].tolist(), strict=True)),
        numbers=np.concatenate(numbers),
    )


def survey_tokens(
    rows: Dataset, tokenizer: Any, *, text_columns: Sequence[str], separate_texts: bool, max_rows: int
) -> TokenSurvey:
    """Tokenize at most `max_rows` rows, which are taken evenly from the whole split.

    The texts of a row are one input together, or with `separate_texts` an input each.
    """
    positions = evenly_spaced(len(rows), max_rows)
    sample = rows.select_columns(list(text_columns)).select(positions, keep_in_memory=True)
    lengths: list[int] = []
    unknown: Counter[str] = Counter()

    def on_text(text: str, encoding: Any) -> None:
        ids = encoding.ids
        lengths.append(len(ids))
        if tokenizer.unk_token_id in ids:
            for token, (first, last) in zip(ids, encoding.offsets, strict=True):
                piece = text[first:last][:40]
                if token == tokenizer.unk_token_id and (piece in unknown or len(unknown) < MAX_PIECES):
                    unknown[piece] += 1

    columns = ([texts_of(batch[name]).to_pylist() for name in text_columns] for _, batch in batches(sample))
    texts = (text for batch in columns for row in zip(*batch, strict=True) for text in row)
    counts = measure(tokenizer, ((text or "")[:MAX_CHARACTERS] for text in texts), on_text=on_text)
    by_row = np.array(lengths, dtype=np.int64).reshape(-1, len(text_columns))
    inputs = by_row.ravel() if separate_texts else by_row.sum(axis=1)
    special = tokenizer.num_special_tokens_to_add(pair=len(text_columns) > 1 and not separate_texts)
    return TokenSurvey(num_rows=len(positions), counts=counts, lengths=inputs + special, unknown=unknown)


def batches(rows: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position of the first row, columns as arrays) of 1,000 rows at a time."""
    tables: Any = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
    start = 0
    for table in tables:
        yield start, {name: pa.concat_arrays(table.column(name).chunks) for name in table.column_names}
        start += table.num_rows


def texts_of(values: Any) -> pa.Array:
    """A column as texts: words of a list with spaces between them, nulls as they are."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    texts = [None if value is None else text_of(value) for value in values.to_pylist()]
    return pa.array(texts, pa.large_string())


def value_texts(values: Any) -> list[str | None]:
    """Any values as text, lists and structures as JSON; None for null."""
    to_json = partial(json.dumps, ensure_ascii=False, default=str)
    convert = to_json if pa.types.is_nested(values.type) else as_text
    return [None if value is None else convert(value) for value in values.to_pylist()]


def hashes_of(values: Iterable[Any]) -> np.ndarray:
    """64 bits for each value, [N] uint64; NO_VALUE for None."""
    keys = (bytes(8) if value is None else key_of(value, size=8) for value in values)
    return np.frombuffer(b"".join(keys), dtype="<u8").astype(np.uint64)


def quantile(lengths: np.ndarray, share: float) -> int:
    """The length that this share of all does not exceed; 0 where there are none."""
    return int(np.quantile(lengths, share, method="inverted_cdf")) if len(lengths) else 0


def find_overlaps(surveys: Mapping[str, SplitSurvey]) -> list[Overlap]:
    """Repeated rows, within splits first; near ones are counted without the exact ones."""
    within = [(survey, survey) for survey in surveys.values()]
    # The later split is the one that should be new: validation and test after train.
    across = [(second, first) for first, second in combinations(surveys.values(), 2)]
    overlaps = []
    for survey, other in within + across:
        exact = first_equal(survey.exact, other.exact, is_within=survey is other)
        near = first_equal(survey.near, other.near, is_within=survey is other)
        near[exact >= 0] = -1
        for kind, matches in (("exact", exact), ("near", near)):
            rows = np.flatnonzero(matches >= 0)
            if len(rows):
                examples = _pairs(rows, matches[rows])
                overlaps.append(Overlap(survey.split, other.split, kind, len(rows), examples))
    return overlaps


def find_noise(survey: SplitSurvey) -> Iterator[Overlap]:
    """Texts that come with more than one label."""
    labelled = np.flatnonzero(survey.label_hashes != NO_VALUE)
    texts, labels = survey.exact[labelled], survey.label_hashes[labelled]
    first = first_equal(texts, texts, is_within=False)
    differs = labels != labels[first]
    if differs.any():
        noisy = np.unique(texts[differs])
        rows = int(np.isin(survey.exact, noisy).sum())
        examples = _pairs(labelled[differs], labelled[first[differs]])
        yield Overlap(survey.split, survey.split, "labels", rows, examples, texts=len(noisy))


def first_equal(hashes: np.ndarray, others: np.ndarray, *, is_within: bool) -> np.ndarray:
    """The position of the first of `others` that equals each hash, -1 without one, [N] int64.

    `is_within`: both are the same, and the first of equal ones has none.
    """
    if not len(others):
        return np.full(len(hashes), -1)
    different, first = np.unique(others, return_index=True)
    nearest = np.minimum(np.searchsorted(different, hashes), len(different) - 1)
    matches = np.where(different[nearest] == hashes, first[nearest], -1)
    return np.where(matches == np.arange(len(matches)), -1, matches) if is_within else matches


def _pairs(later: np.ndarray, earlier: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Some pairs of positions, for each of `earlier` its first."""
    _, firsts = np.unique(earlier, return_index=True)
    shown = np.sort(firsts)[:MAX_EXAMPLES]
    return tuple(zip(later[shown].tolist(), earlier[shown].tolist(), strict=True))


def _lengths(values: Any) -> np.ndarray:
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def find_odd(texts: pa.Array) -> dict[str, np.ndarray]:
    """Positions of the texts that have each oddity; nulls have none."""
    odd: dict[str, np.ndarray] = {}
    for oddity in ODDITIES:
        if oddity.name == "empty":  # RE2's white space is that of ASCII
            hits = pc.equal(pc.utf8_trim_whitespace(texts), "")
        elif oddity.name == "very_long":
            hits = pc.greater(pc.utf8_length(texts), VERY_LONG)
        else:
            hits = pc.match_substring_regex(texts, oddity.pattern)
        positions = np.flatnonzero(pc.fill_null(hits, False).to_numpy(zero_copy_only=False))  # noqa: FBT003
        if len(positions):
            odd[oddity.name] = positions
    return odd
