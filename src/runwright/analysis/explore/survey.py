"""Survey of one split: hashes, lengths, oddities and tokens of its texts, labels, ids, repeated rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.cleaning.columns import text_of
from runwright.dataset.fingerprint import bare, key_of
from runwright.dataset.readers.raw import ROW_ID
from runwright.predictions import evenly_spaced

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

BATCH_ROWS = 1000
MAX_EXAMPLES = 5
TOKEN_ROWS = 20_000  # of each split, evenly from the whole, whose tokens are counted
TOKEN_BATCH = 256  # rows: the encodings of many long texts take memory
MAX_CHARACTERS = 100_000  # of one text: beyond, its tokens are not worth the time
MAX_CLASSES = 10_000  # more different labels are no classes
FEW_ROWS = 20  # in so few any values may all be different
ID_NAME = re.compile(r"(?i)(^|[_ ])(id|uuid|guid|index)$|^Unnamed: 0$")
NO_VALUE = 0  # in place of a hash

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
        "invisible",
        "have invisible characters (control, zero width, direction marks)",
        "ReplacePattern removes them",
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{feff}]",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSurvey:
    """Counts over one split of N rows; positions are those of its rows.

    Hashes have 64 bits: among 10^7 rows the chance that any two texts share one is 3e-6.
    """

    split: str
    num_rows: int
    characters: np.ndarray  # [N * text columns] int64
    words: np.ndarray  # [N * text columns] int64
    exact: np.ndarray  # [N] uint64, hashes of the texts; empty without text columns, as the next two are
    near: np.ndarray  # [N] uint64, hashes of the texts without case, spaces and punctuation
    label_hashes: np.ndarray  # [N] uint64, of all labels of a row; NO_VALUE where there is none
    odd: dict[str, np.ndarray]  # positions of the texts by the name of their oddity
    labels: Counter[str]  # empty where there are more than MAX_CLASSES
    numbers: np.ndarray  # [n] float64, finite labels; empty where labels are no numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSurvey:
    """Tokens of a sample of a split's rows, evenly from the whole."""

    lengths: np.ndarray  # [N] int64, of inputs as a model sees them: with special tokens
    num_tokens: int  # without special ones
    unknown: Counter[str]  # pieces that became the unknown token

    def cut_by(self, limit: int | None) -> float:
        """The share of the inputs that are longer than a limit."""
        return 0.0 if limit is None or not len(self.lengths) else float((self.lengths > limit).mean())


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
    """Count over texts and labels.

    `labels_of` turns a value of the label column into labels, none where it is missing.
    """
    labels: Counter[str] = Counter()
    odd: dict[str, list[np.ndarray]] = defaultdict(list)
    numbers = [np.empty(0)]
    blocks = [_describe([pa.array([], pa.large_string())], [])]  # arrays of the right types, if no row comes
    names = list(dict.fromkeys(name for name in (*text_columns, label_column) if name))
    for start, batch in batches(rows.select_columns(names)) if text_columns else ():
        texts = [texts_of(batch[name]) for name in text_columns]
        values = batch[label_column] if label_column else pa.nulls(len(texts[0]))
        blocks.append(_describe(texts, row_labels := list(map(labels_of, values.to_pylist()))))
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            floats = values.to_numpy(zero_copy_only=False).astype(np.float64)
            numbers.append(floats[np.isfinite(floats)])
        for name, positions in (item for column in texts for item in find_odd(column).items()):
            odd[name].append(positions + start)
        if len(labels) <= MAX_CLASSES:
            labels.update(label for names in row_labels for label in names)
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return SplitSurvey(
        split=split,
        num_rows=len(rows),
        odd={name: np.concatenate(positions) for name, positions in odd.items()},
        labels=labels if len(labels) <= MAX_CLASSES else Counter(),
        numbers=np.concatenate(numbers),
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


def id_columns(rows: Dataset, used: Collection[str | None]) -> Iterator[str]:
    """Columns beside those in use that are called an id, or whose words or whole numbers all differ."""
    for name in rows.column_names:
        if name in used or name == ROW_ID:
            continue
        if ID_NAME.search(name) or _all_differ(rows.select_columns([name])):
            yield name


def _all_differ(column: Dataset) -> bool:
    hashes = []
    for _, batch in batches(column):
        (values,) = batch.values()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            if pc.any(pc.match_substring(values, " ")).as_py():
                return False
        elif not pa.types.is_integer(values.type):
            return False
        hashes.append(hashes_of(values.to_pylist()))
    return len(column) >= FEW_ROWS and len(np.unique(np.concatenate(hashes))) == len(column)


def survey_tokens(
    rows: Dataset, tokenizer: Any, *, text_columns: Sequence[str], separate_texts: bool
) -> TokenSurvey:
    """Tokenize at most TOKEN_ROWS rows.

    The texts of a row are one input together, or with `separate_texts` an input each.
    """
    positions = evenly_spaced(len(rows), TOKEN_ROWS)
    sample = rows.select_columns(list(text_columns)).select(positions, keep_in_memory=True)
    backend, unknown = tokenizer.backend_tokenizer, Counter[str]()
    backend.no_truncation()  # with which it may have been saved
    backend.no_padding()
    by_row = [np.empty((0, len(text_columns)), np.int64)]
    for _, batch in batches(sample, size=TOKEN_BATCH):
        lengths = []
        for column in (texts_of(batch[name]).to_pylist() for name in text_columns):
            texts = [(text or "")[:MAX_CHARACTERS] for text in column]
            encodings = backend.encode_batch(texts, add_special_tokens=False)
            lengths.append([len(encoding.ids) for encoding in encodings])
            for text, encoding in zip(texts, encodings, strict=True):
                if tokenizer.unk_token_id in encoding.ids:
                    pairs = zip(encoding.ids, encoding.offsets, strict=True)
                    unknown.update(
                        text[a:b][:40] for token, (a, b) in pairs if token == tokenizer.unk_token_id
                    )
        by_row.append(np.array(lengths, dtype=np.int64).T)
    tokens = np.concatenate(by_row)
    inputs = tokens.ravel() if separate_texts else tokens.sum(axis=1)
    special = tokenizer.num_special_tokens_to_add(pair=len(text_columns) > 1 and not separate_texts)
    return TokenSurvey(lengths=inputs + special, num_tokens=int(tokens.sum()), unknown=unknown)


def batches(rows: Dataset, *, size: int = BATCH_ROWS) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position of the first row, columns as arrays) of so many rows at a time."""
    tables: Any = rows.with_format("arrow").iter(batch_size=size)
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
        else:
            hits = pc.match_substring_regex(texts, oddity.pattern)
        positions = np.flatnonzero(pc.fill_null(hits, False).to_numpy(zero_copy_only=False))  # noqa: FBT003
        if len(positions):
            odd[oddity.name] = positions
    return odd
