"""Data sets in forms of their own: CoNLL's columns, SQuAD's nested JSON, GLUE's TSV files.

The JSON of CMRC and XQuAD is SQuAD's. GLUE (Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform
for Natural Language Understanding", ICLR 2019) may also come from a hub: both ways give the same columns, and
classes by the same names; unlabelled test splits come without `label`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from runwright import store
from runwright.dataset.cleaning.columns import MapValues
from runwright.dataset.cleaning.passes import renamed
from runwright.dataset.readers import reading
from runwright.dataset.readers.addresses import files_of_splits
from runwright.dataset.readers.hub import read_hub
from runwright.dataset.readers.raw import ROW_ID
from runwright.dataset.readers.reading import Files, Position, Reader, known_encoding, lines_of
from runwright.dataset.readers.streams import read_files
from runwright.dataset.readers.text_rows import DELIMITERS, CsvReader, character_of, json_list
from runwright.errors import ConfigError, DataError, did_you_mean
from runwright.types import Splits

BLANK = " \t\r\n\ufeff"  # files that were put together hold byte-order marks between their parts
DOCUMENT_MARK = "-DOCSTART-"  # a line of its own in CoNLL-2003
_CONLLU_COLUMNS = 10
_NO_WORD = re.compile(r"\d+[-.]\d+")  # CoNLL-U: 1-2, a word of several that follow; 8.1, an empty node
_SPACES = re.compile(r"[ \t]+")  # spaces of other kinds are a part of words


def read_conll(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    columns: dict[str, int],
    separator: str,
    comment: str | None,
    encoding: str,
) -> Splits:
    """Rows with a list of strings for each of `columns`, which says where it stands on a line.

    Lines without a word end a sentence; left out are lines that begin with `-DOCSTART-`, those that begin
    with `comment` before the first word of a sentence, and the ranges and empty nodes of CoNLL-U. Raises
    DataError naming file, row and line for a line with too few columns.
    """
    mark = None if separator == "whitespace" else separator
    mark = mark and character_of(mark, "dataset.source.separator", DELIMITERS)
    if not columns:
        raise ConfigError(
            "dataset.source.columns: expected at least one name with its column number from 0, as in words: 0"
        )
    encoding = known_encoding(encoding)
    reader = ConllReader(columns_on_line=columns, separator=mark, comment=comment, encoding=encoding)
    return read_files(reader, files_of_splits(files, folder))


@dataclass(frozen=True, kw_only=True)
class ConllReader(Reader):
    """Each sentence as one list of strings for each column."""

    columns_on_line: Mapping[str, int]  # name: place on the line
    separator: str | None  # None: blanks and tabs
    encoding: str
    comment: str | None = None

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        schema = pa.schema([(name, pa.list_(pa.string())) for name in self.columns_on_line])
        return dict.fromkeys(files, schema)

    def rows(self, at: Position, _: Sequence[str], /) -> Iterator[list[list[str]]]:
        """The columns of each sentence; raises DataError for a line with too few."""
        numbers = list(self.columns_on_line.values())
        usual = 0  # columns of the first line
        least = max(len(numbers), *(number + 1 if number >= 0 else -number for number in numbers))
        for lines in sentences(at, self.encoding, self.comment):
            sep = self.separator
            words = [line.split(sep) if sep else _SPACES.split(line.strip(BLANK)) for line in lines]
            for number, fields in enumerate(words):
                usual = usual or len(fields)
                if len(fields) < least or (sep is None and len(fields) != usual):
                    problem = f"{len(fields)} columns, expected {max(least, usual)}: {lines[number]!r:.60}; "
                    problem += "dataset.source.separator=tab for words with spaces, comment for lines of #"
                    raise at.error(problem, line=(at.line or 0) + number)
            if len(words[0]) >= _CONLLU_COLUMNS:
                words = [fields for fields in words if not _NO_WORD.fullmatch(fields[0])]
                if len(words) > 2 and 0 in numbers and [fields[0] for fields in words[:3]] == ["1", "2", "3"]:
                    problem = "the first column numbers the words: set dataset.source.separator=tab"
                    raise at.error(f"{problem} 'dataset.source.columns={{words: 1, tags: 3}}'")
            yield [[fields[number].strip() for fields in words] for number in numbers]

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        """Each sentence by column; of a file with a word on each line and nothing else the first column."""
        first = next(sentences(Position(address=at.address), self.encoding), [""])[0]
        columns = self.columns_on_line
        if len(first.split(self.separator)) == 1:
            columns = {name: number for name, number in columns.items() if number == 0} or columns
        for values in replace(self, columns_on_line=columns).rows(at, ()):
            yield dict(zip(columns, values, strict=True))


def sentences(at: Position, encoding: str, comment: str | None = None) -> Iterator[list[str]]:
    """The lines of each sentence; `at.line` is where it begins."""
    lines: list[str] = []
    first = 0
    for line in chain(lines_of(at, encoding), [""]):
        if comment and not lines and line.startswith(comment):
            continue
        if line.strip(BLANK) and not line.startswith(DOCUMENT_MARK):
            first = first if lines else at.num_lines
            lines.append(line.rstrip("\r\n"))
        elif lines:
            at.line = first
            yield lines
            lines = []


# --- SQuAD ------------------------------------------------------------------------------------------------

ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
TEXTS = pa.schema([(name, pa.string()) for name in ("id", "title", "context", "question")])
_KINDS = {str: "text", list: "a list", int: "a whole number", bool: "true or false"}


def read_squad(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    exclude_titles: dict[str, list[str]],
    only_titles: dict[str, list[str] | None],
    encoding: str,
) -> Splits:
    """Rows with id, title, context, question and answers: {text: [...], answer_start: [...]}.

    A split without any answers has no such column. Of each split only the articles with some titles, or all
    but those. Raises DataError naming file, split, row (the number of the question) and column.
    """
    reader = SquadReader(
        encoding=known_encoding(encoding), only_titles=only_titles, exclude_titles=exclude_titles
    )
    return read_files(reader, files_of_splits(files, folder))


@dataclass(frozen=True, kw_only=True)
class SquadReader(Reader):
    """Questions of the articles with some titles, or of all but those, by split."""

    may_be_empty = True  # of a file with other titles only
    encoding: str
    only_titles: Mapping[str, Sequence[str] | None]
    exclude_titles: Mapping[str, Sequence[str]]

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        return {split: self._schema(split, addresses) for split, addresses in files.items()}

    def _schema(self, split: str, addresses: Sequence[str]) -> pa.Schema:
        """With answers where the questions of a split have some; raises DataError where only a part has."""
        titles: set[str] = set()
        first: dict[bool, Position] = {}  # question with answers, and without
        for address in addresses:
            at = Position(address=address, split=split)
            for *_, answers in reading.counted(self._questions(at, titles), at):
                if (answers is not None) not in first:
                    first[answers is not None] = replace(at, row=at.row - 1)
        if len(first) == 2:
            problem = "no answers, while other questions have some; one that cannot be answered has "
            raise first[False].error(f"{problem}is_impossible: true, or an empty list", column="answers")
        named = [*(self.only_titles.get(split) or ()), *(self.exclude_titles.get(split) or ())]
        if unknown := [name for name in named if name not in titles]:
            hint = did_you_mean(unknown[0], sorted(titles)) or "see only_titles, exclude_titles"
            raise DataError(f"no article has the title {unknown[0]!r}; {hint}", split=split, column="title")
        if not first:
            raise DataError("no questions in these files", file=addresses[0], split=split)
        return TEXTS.append(pa.field("answers", ANSWERS)) if True in first else TEXTS

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        for row in self._questions(at, set()):
            yield row[: len(names)]

    def columns_of(self, _: str, /) -> list[str]:
        return [*TEXTS.names, "answers"]

    def _questions(self, at: Position, titles: set[str]) -> Iterator[list[Any]]:
        """Id, title, context, question and answers (None: none are given); adds all titles to `titles`."""
        only = self.only_titles.get(at.split or "")
        exclude = self.exclude_titles.get(at.split or "") or ()
        for article in json_list(reading.whole_text(at, self.encoding), at, field="data"):
            title = str(_value(article, "title", str, at, default=""))
            titles.add(title)
            if title in exclude or (only is not None and title not in only):
                continue
            for paragraph in _value(article, "paragraphs", list, at):
                context = _value(paragraph, "context", str, at)
                if not context.strip():
                    raise at.error("the context is empty", column="context")
                for asked in _value(paragraph, "qas", list, at):
                    number = str(_value(asked, "id", (str, int), at, default=at.row))
                    question = _value(asked, "question", str, at)
                    yield [number, title, context, question, _answers(asked, at)]


def _answers(asked: Mapping[str, Any], at: Position) -> dict[str, list[Any]] | None:
    impossible = _value(asked, "is_impossible", bool, at, default=False)
    if "answers" not in asked and not impossible:
        return None
    answers = _value(asked, "answers", list, at, default=[])
    if impossible and answers:
        raise at.error("is_impossible is true, but there are answers", column="answers")
    return {
        name: [_value(answer, name, kind, at, column="answers") for answer in answers]
        for name, kind in (("text", str), ("answer_start", int))
    }


def _value(
    mapping: Any, name: str, kind: Any, at: Position, *, column: str | None = None, default: Any = None
) -> Any:
    """A value of that kind; raises DataError where there is none."""
    column = column or name
    if not isinstance(mapping, dict):
        raise at.error(f"expected an object with {name!r}, found {mapping!r:.60}", column=column)
    value = default if mapping.get(name) is None else mapping[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        shown = "nothing" if value is None else f"{value!r:.60}"
        expected = _KINDS.get(kind, "a name")
        raise at.error(f"expected {expected} under {name!r}, given {shown}", column=column)
    return value


# --- GLUE -------------------------------------------------------------------------------------------------

_SPLITS = {  # MRPC also as Microsoft published it, without a validation split
    "train": ("train.tsv", "msr_paraphrase_train.txt"),
    "validation": ("dev.tsv",),
    "test": ("test.tsv", "msr_paraphrase_test.txt"),
}
_MATCHED = {
    "train": ("train.tsv",),
    "validation": ("dev_matched.tsv",),
    "validation_mismatched": ("dev_mismatched.tsv",),
    "test": ("test_matched.tsv",),
    "test_mismatched": ("test_mismatched.tsv",),
}
_SENTENCES = {"sentence1": "sentence1", "sentence2": "sentence2"}
_ENTAILMENT = {"premise": "sentence1", "hypothesis": "sentence2"}
_ENTAILS = ("entailment", "not_entailment")


class _Task(NamedTuple):
    """Columns of a task's files; its classes stand there by number or name."""

    texts: dict[str, str]  # our column: the name in the header
    label: str
    classes: tuple[str, ...] = ()  # none: the label is a number
    splits: dict[str, tuple[str, ...]] = _SPLITS  # the first file there is
    headerless: tuple[str, ...] = ()  # columns of train and dev files without a header


_COLA = ("source", "label", "judgement", "sentence")
_SAME, _DUPLICATE = ("not_equivalent", "equivalent"), ("not_duplicate", "duplicate")
_TASKS = {
    "cola": _Task({"sentence": "sentence"}, "label", ("unacceptable", "acceptable"), headerless=_COLA),
    "sst2": _Task({"sentence": "sentence"}, "label", ("negative", "positive")),
    "mrpc": _Task(dict(zip(_SENTENCES, ("#1 String", "#2 String"), strict=True)), "Quality", _SAME),
    "stsb": _Task(_SENTENCES, "score"),
    "qqp": _Task({"question1": "question1", "question2": "question2"}, "is_duplicate", _DUPLICATE),
    "mnli": _Task(_ENTAILMENT, "gold_label", ("entailment", "neutral", "contradiction"), _MATCHED),
    "qnli": _Task({"question": "question", "sentence": "sentence"}, "label", _ENTAILS),
    "rte": _Task(_SENTENCES, "label", _ENTAILS),
    "wnli": _Task(_SENTENCES, "label", ("not_entailment", "entailment")),
    "ax": _Task(_ENTAILMENT, "label", splits={"test": ("diagnostic.tsv", "test.tsv")}),
}


def read_glue(
    *,
    task: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"],
    folder: str | None,
    hub_name: str,
    revision: str | None,
) -> Splits:
    """The splits of one task: train, validation and test; mnli also validation_mismatched, test_mismatched.

    Columns as on the hub: the texts, `label` (a class by name, a number for stsb) and `idx`. `folder` is the
    task's folder in GLUE's own download; null loads `hub_name` at `revision` from the hub.
    """
    if folder is None:
        return _from_hub(task, hub_name, revision)
    layout = _TASKS[task]
    root = store.local_path(folder)
    paths = {
        split: next((str(root / name) for name in names if (root / name).is_file()), None)
        for split, names in layout.splits.items()
    }
    if not any(paths.values()) or paths.get("train", "") is None:
        names = [names[0] for names in layout.splits.values()]
        problem = f"no {names[0]} (looked in {root.absolute()}); expected {', '.join(names)}"
        raise DataError(problem, file=folder)
    splits: Splits = {}
    for split, path in [(split, path) for split, path in paths.items() if path is not None]:
        names = layout.headerless if split != "test" else ()
        # Lenient as the hub's copy is: QQP has a few broken lines, which the published counts leave out.
        reader = CsvReader(delimiter="\t", quote=None, lenient=True, header=not names, column_names=names)
        header, columns = reader.columns_of(path, split), {**layout.texts, "label": layout.label}
        columns = {ours: name for ours, name in columns.items() if ours != "label" or name in header}
        kinds = {name: "string" for name in columns.values() if name in header}
        kinds |= {layout.label: "float"} if not layout.classes and "label" in columns else {}
        splits |= renamed(read_files(replace(reader, column_types=kinds), {split: [path]}), columns)
        rows = splits[split].select_columns([*columns, ROW_ID])
        splits[split] = rows.add_column("idx", rows[ROW_ID][:])  # pyright: ignore
        if "label" in columns and layout.classes:
            names = {str(number): name for number, name in enumerate(layout.classes)}
            names |= {name: name for name in layout.classes}
            splits |= MapValues(column="label", values=names, others="error")({split: splits[split]})
    return splits


def _from_hub(task: str, hub_name: str, revision: str | None) -> Splits:
    matched = {"validation": "validation_matched", "test": "test_matched"} if task == "mnli" else {}
    theirs: dict[str, str | None] = {split: matched.get(split, split) for split in _TASKS[task].splits}
    splits = read_hub(name=hub_name, config=task, splits=theirs, revision=revision)
    # stsb's unlabelled test rows have the number -1 there; classes of -1 are left out by the reader.
    for split, rows in splits.items():
        if task == "stsb" and set(rows["label"][:]) == {-1}:
            splits[split] = rows.remove_columns("label")
    return splits
