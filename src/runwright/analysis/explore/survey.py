"""Splits of a data set as a run would see them: hashes, lengths, oddities and tokens of texts, and labels."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.cleaning.columns import text_of
from runwright.dataset.fingerprint import column_chunks, hashes_of, row_hashes
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import DataError
from runwright.predictions import evenly_spaced
from runwright.report.terminal import shorten
from runwright.task import labels
from runwright.task.tags import are_marks, read_marks

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

BATCH_ROWS = 1000
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
    pattern: str  # of RE2; matches the texts


ODDITIES = (
    Oddity("empty", "are empty", "DropEmpty drops them", r"^[\s\v\p{Z}\x1c-\x1f\x{85}]*$"),
    Oddity(
        "garbled",
        "look garbled, as read in the wrong encoding",
        "dataset.source.encoding is the file's own, or the source is damaged",
        f"\ufffd|{_GARBLED}",
    ),
    Oddity(
        "markup",
        "have HTML tags or entities",
        "ReplacePattern removes tags, UnescapeHtml turns entities into characters",
        r"</?[A-Za-z][^<>]*>|&(#\d{1,6}|#x[0-9a-fA-F]{1,5}|[A-Za-z]{2,8});",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of texts and labels, and how a task reads them."""

    text_columns: tuple[str, ...]
    label_column: str | None = None
    label_separator: str | None = None  # between several labels of one row
    label_names: tuple[str, ...] = ()  # of the ids, where the task or the column has them
    are_numbers: bool = False  # labels are values to predict, not classes
    separate_texts: bool = False  # each text is an input; False: those of a row are one together
    max_length: int | None = None  # tokens of an input; None where a long one becomes several

    @cached_property
    def _named(self) -> Callable[[Any], str]:  # made once: it takes 0.2 ms for 77 names
        return labels.LabelEncoder(self.label_names).named if self.label_names else labels.label_name

    def labels_of(self, value: Any) -> list[str]:
        """The labels in a cell by name: sorted for a separator, of words in their order."""
        names, separator, named = self.label_names, self.label_separator, self._named
        with suppress(DataError):
            if are_marks(marks := labels.read_written(value)):
                return [kind for _, _, kind, _ in read_marks(marks, {})]
        if separator is not None:
            several = labels.split_labels(value, separator)
            if names and labels.vector_width([several]) == len(names):
                several = labels.read_vector(several, len(names))
            return sorted(map(named, several))
        if isinstance(value, list):
            return list(map(named, value))
        return [] if labels.is_missing(value) else [named(value)]


def task_columns(task: Any, rows: Any) -> Columns:
    """The columns of a task in some rows; labels that are texts, or are not there, are left out."""
    label = None if task.generates else getattr(task, "tags_column", task.label_column)
    return Columns(
        text_columns=task.texts_in([name for name in rows.column_names if name != ROW_ID]),
        label_column=label if label in rows.column_names else None,
        label_separator=task.label_separator if task.problem == "multi_label" else None,
        label_names=getattr(task, "names_option", ()) or labels.names_in(rows.features.get(label)),
        are_numbers=task.problem == "regression",
        separate_texts=task.embeds_texts,
        max_length=None if task.cuts_windows else task.max_length,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSurvey:
    """Counts over one split of N rows; positions are those of its rows.

    Hashes have 64 bits: among 10^7 rows the chance that any two texts share one is 3e-6.
    """

    num_rows: int
    characters: np.ndarray  # [N * text columns] int64
    words: np.ndarray  # [N * text columns] int64
    exact: np.ndarray  # [N] uint64, hashes of the texts; empty without text columns, as the next is
    label_hashes: np.ndarray  # [N] uint64, of all labels of a row; NO_VALUE where there is none
    odd: dict[str, np.ndarray]  # positions of the texts by the name of their oddity
    labels: Counter[str]  # empty where there are more than MAX_CLASSES
    numbers: np.ndarray  # [n] float64, finite labels that are numbers to predict


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSurvey:
    """Tokens of a sample of a split's rows, evenly from the whole."""

    lengths: np.ndarray  # [N] int64, of inputs as a model sees them: with special tokens
    num_tokens: int  # without special ones
    unknown: Counter[str]  # pieces that became the unknown token

    def cut_by(self, limit: int | None) -> float:
        """The share of the inputs that are longer than a limit."""
        return 0.0 if limit is None or not len(self.lengths) else float((self.lengths > limit).mean())


class Exploration:
    """All rows of all splits as they are counted; with a tokenizer the tokens of some of each split."""

    def __init__(self, *, data: LoadedData, columns: Columns, tokenizer: Any | None = None) -> None:
        self.data, self.columns = data, columns
        self.surveys = {split: survey(rows, columns) for split, rows in data.splits.items()}
        splits = data.splits.items() if tokenizer is not None else ()
        self.tokens = {split: survey_tokens(rows, tokenizer, columns) for split, rows in splits}

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """Labels that are numbers to predict, by split."""
        return {split: survey.numbers for split, survey in self.surveys.items() if len(survey.numbers)}

    @property
    def label_names(self) -> list[str]:
        """The classes, the most frequent of the first split first; none where labels are numbers."""
        counts = [survey.labels for survey in self.surveys.values() if not self.columns.are_numbers]
        ranked = (sorted(labels, key=lambda name, of=labels: (-of[name], name)) for labels in counts)
        return [*dict.fromkeys(name for names in ranked for name in names)]

    def text(self, split: str, position: int) -> str:
        """The texts of a row in at most 240 characters."""
        row = self.data.splits[split][position]
        return shorten(" ¦ ".join(text_of(row[name]) for name in self.columns.text_columns), 240)

    def label(self, split: str, position: int) -> str:
        """The label of a row as text."""
        return ", ".join(self.columns.labels_of(self.data.splits[split][position][self.columns.label_column]))

    def overlaps(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """(split, other, positions) of rows of a split that repeat one of another.

        Within splits first, where the first of equal rows repeats none.
        """
        within = [(split, split) for split in self.surveys]
        # The later split is the one that should be new: validation and test after train.
        for split, other in within + [(later, split) for split, later in combinations(self.surveys, 2)]:
            positions = np.flatnonzero(repeated(self.surveys[split].exact, self.surveys[other].exact))
            if len(positions):
                yield split, other, positions


def survey(rows: Dataset, columns: Columns) -> SplitSurvey:
    """Count over texts and labels, where the rows have the label column."""
    label = columns.label_column if columns.label_column in rows.column_names else None
    classes: Counter[str] = Counter()
    odd: dict[str, list[np.ndarray]] = defaultdict(list)
    numbers = [np.empty(0)]
    blocks = [_describe([pa.array([], pa.large_string())], [])]  # arrays of the right types, if no row comes
    names = list(dict.fromkeys(name for name in (*columns.text_columns, label) if name))
    tables: Any = rows.select_columns(names).with_format("arrow").iter(batch_size=BATCH_ROWS)
    for number, table in enumerate(tables if columns.text_columns else ()):
        texts = [texts_of(pa.concat_arrays(table[name].chunks)) for name in columns.text_columns]
        values = table[label] if label else pa.nulls(table.num_rows)
        blocks.append(_describe(texts, row_labels := list(map(columns.labels_of, values.to_pylist()))))
        if columns.are_numbers and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            floats = values.to_numpy().astype(np.float64)
            numbers.append(floats[np.isfinite(floats)])
        for name, positions in (item for column in texts for item in find_odd(column).items()):
            odd[name].append(positions + number * BATCH_ROWS)
        if len(classes) <= MAX_CLASSES:
            classes.update(name for names in row_labels for name in names)
    return SplitSurvey(
        num_rows=len(rows),
        odd={name: np.concatenate(positions) for name, positions in odd.items()},
        labels=classes if len(classes) <= MAX_CLASSES else Counter(),
        numbers=np.concatenate(numbers),
        **{name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]},
    )


def _describe(columns: Sequence[pa.Array], labels: Sequence[list[str]]) -> dict[str, np.ndarray]:
    """The arrays of SplitSurvey for some rows, from their texts and labels."""
    words = [pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column)) for column in columns]
    rows = list(zip(*([text or "" for text in column.to_pylist()] for column in columns), strict=True))
    return {
        "characters": np.concatenate([_lengths(pc.utf8_length(column)) for column in columns]),
        "words": np.concatenate([_lengths(pc.list_value_length(column)) for column in words]),
        "exact": hashes_of(rows),
        "label_hashes": hashes_of(names or None for names in labels),
    }


def id_columns(rows: Dataset, used: Collection[str | None]) -> Iterator[str]:
    """Columns beside those in use that are called an id, or whose words or whole numbers all differ."""
    for name in rows.column_names:
        if name in used or name == ROW_ID:
            continue
        if ID_NAME.search(name) or _all_differ(rows, name):
            yield name


def _all_differ(rows: Dataset, column: str) -> bool:
    for _, values in column_chunks(rows, column):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            if pc.any(pc.match_substring(values, " ")).as_py():
                return False
        elif not pa.types.is_integer(values.type):
            return False
    return len(rows) >= FEW_ROWS and len(np.unique(row_hashes(rows, [column]))) == len(rows)


def survey_tokens(rows: Dataset, tokenizer: Any, columns: Columns) -> TokenSurvey:
    """Tokenize at most TOKEN_ROWS rows, the texts of each as the columns say."""
    names, separate = columns.text_columns, columns.separate_texts
    positions = evenly_spaced(len(rows), TOKEN_ROWS)
    sample: Any = rows.select_columns(list(names)).select(positions, keep_in_memory=True)
    backend, unknown = tokenizer.backend_tokenizer, Counter[str]()
    backend.no_truncation()  # with which it may have been saved
    backend.no_padding()
    by_row = [np.empty((0, len(names)), np.int64)]
    for batch in sample.iter(batch_size=TOKEN_BATCH):
        lengths = []
        for values in (batch[name] for name in names):
            texts = ["" if value is None else text_of(value)[:MAX_CHARACTERS] for value in values]
            encodings = backend.encode_batch(texts, add_special_tokens=False)
            lengths.append([len(encoding.ids) for encoding in encodings])
            for text, encoding in zip(texts, encodings, strict=True):
                pairs = zip(encoding.ids, encoding.offsets, strict=True)
                unknown.update(text[a:b][:40] for token, (a, b) in pairs if token == tokenizer.unk_token_id)
        by_row.append(np.array(lengths, dtype=np.int64).T)
    tokens = np.concatenate(by_row)
    inputs = tokens.ravel() if separate else tokens.sum(axis=1)
    special = tokenizer.num_special_tokens_to_add(pair=len(names) > 1 and not separate)
    return TokenSurvey(lengths=inputs + special, num_tokens=int(tokens.sum()), unknown=unknown)


def texts_of(values: Any) -> pa.Array:
    """A column as texts: words of a list with spaces between them, nulls as they are."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    texts = [None if value is None else text_of(value) for value in values.to_pylist()]
    return pa.array(texts, pa.large_string())


def quantile(lengths: np.ndarray, share: float) -> int:
    """The length that this share of all does not exceed; 0 where there are none."""
    return int(np.quantile(lengths, share, method="inverted_cdf")) if len(lengths) else 0


def firsts(values: np.ndarray) -> np.ndarray:
    """The position of the first of equal values for each value, rising."""
    return np.sort(np.unique(values, return_index=True)[1])


def repeated(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """True where a hash is among the others, [N] bool; among hashes themselves for all but the first."""
    if hashes is not others:
        return np.isin(hashes, others)
    mask = np.ones(len(hashes), dtype=bool)
    mask[firsts(hashes)] = False
    return mask


def find_noise(survey: SplitSurvey) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M] of all rows whose texts come with several labels, and two [T, 2] for each such text.

    The two are those of the first label of the text and of the first other one.
    """
    labelled = np.flatnonzero(survey.label_hashes != NO_VALUE)
    texts, labels = survey.exact[labelled], survey.label_hashes[labelled]
    _, first, group = np.unique(texts, return_index=True, return_inverse=True)
    others = np.flatnonzero(labels != labels[first[group]])
    pairs = [(first[group[other]], other) for other in others[firsts(texts[others])]]
    return np.flatnonzero(np.isin(survey.exact, texts[others])), labelled[np.array(pairs, int).reshape(-1, 2)]


def _lengths(values: Any) -> np.ndarray:
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def find_odd(texts: pa.Array) -> dict[str, np.ndarray]:
    """Positions of the texts that have each oddity; nulls have none."""
    odd: dict[str, np.ndarray] = {}
    for oddity in ODDITIES:
        hits = pc.fill_null(pc.match_substring_regex(texts, oddity.pattern), False)  # noqa: FBT003
        if pc.any(hits).as_py():
            odd[oddity.name] = np.flatnonzero(hits.to_numpy(zero_copy_only=False))
    return odd
