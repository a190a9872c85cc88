"""The GLUE benchmark from a hub, or from a folder in its own TSV format.

Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding",
ICLR 2019.
Both ways give the same columns, and classes by the same names; unlabelled test splits come without `label`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from runwright import store
from runwright.dataset.readers.csv_rows import CsvReader
from runwright.dataset.readers.hub import read_hub
from runwright.dataset.readers.reading import Files, Position
from runwright.dataset.readers.streams import read_files
from runwright.errors import DataError
from runwright.types import Splits

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
_ENTAILS = {name: name for name in ("entailment", "not_entailment")}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """Columns of a task's files; `classes` maps a value in the file to the class's name."""

    texts: dict[str, str]  # our column: the name in the header
    label: str
    classes: dict[str, str] | None  # None: the label is a number
    splits: dict[str, tuple[str, ...]] = field(default_factory=lambda: _SPLITS)  # the first file there is
    headerless: tuple[str, ...] = ()  # columns of train and dev files without a header


_SENTENCES = {"sentence1": "sentence1", "sentence2": "sentence2"}
_TASKS = {
    "cola": _Task(
        texts={"sentence": "sentence"},
        label="label",
        classes={"0": "unacceptable", "1": "acceptable"},
        headerless=("source", "label", "judgement", "sentence"),
    ),
    "sst2": _Task(texts={"sentence": "sentence"}, label="label", classes={"0": "negative", "1": "positive"}),
    "mrpc": _Task(
        texts={"sentence1": "#1 String", "sentence2": "#2 String"},
        label="Quality",
        classes={"0": "not_equivalent", "1": "equivalent"},
    ),
    "stsb": _Task(texts=_SENTENCES, label="score", classes=None),
    "qqp": _Task(
        texts={"question1": "question1", "question2": "question2"},
        label="is_duplicate",
        classes={"0": "not_duplicate", "1": "duplicate"},
    ),
    "mnli": _Task(
        texts={"premise": "sentence1", "hypothesis": "sentence2"},
        label="gold_label",
        classes={name: name for name in ("entailment", "neutral", "contradiction")},
        splits=_MATCHED,
    ),
    "qnli": _Task(texts={"question": "question", "sentence": "sentence"}, label="label", classes=_ENTAILS),
    "rte": _Task(texts=_SENTENCES, label="label", classes=_ENTAILS),
    "wnli": _Task(texts=_SENTENCES, label="label", classes={"0": "not_entailment", "1": "entailment"}),
    "ax": _Task(
        texts={"premise": "sentence1", "hypothesis": "sentence2"},
        label="label",
        classes=None,
        splits={"test": ("diagnostic.tsv", "test.tsv")},
    ),
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
    root = store.local_path(folder)
    if not root.is_dir():
        raise DataError(f"no such folder (looked in {root.absolute()})", file=folder)
    layout = _TASKS[task]
    paths = {
        split: next((str(root / name) for name in names if (root / name).is_file()), None)
        for split, names in layout.splits.items()
    }
    if not any(paths.values()) or paths.get("train", "") is None:
        names = [names[0] for names in layout.splits.values()]
        raise DataError(f"the folder has no {names[0]}; expected {', '.join(names)}", file=folder)
    rows: dict[str, Any] = {}
    for split, path in paths.items():
        names = layout.headerless if split != "test" else ()
        # Lenient as the hub's copy is: QQP has a few broken lines, which the published counts leave out.
        form: Any = {"delimiter": "\t", "quote": None, "lenient": True}
        form |= {"header": not names, "column_names": names}
        if path is not None:
            rows |= read_files(_GlueReader(task=layout, **form), {split: [path]})
    return rows


def _from_hub(task: str, hub_name: str, revision: str | None) -> Splits:
    matched = ("validation", "test") if task == "mnli" else ()
    theirs: dict[str, str | None] = {
        split: f"{split}_matched" if split in matched else split for split in _TASKS[task].splits
    }
    splits = read_hub(name=hub_name, config=task, splits=theirs, revision=revision, streaming=False)
    # stsb's unlabelled test rows have the number -1 there; classes of -1 are left out by the reader.
    return {
        split: rows.remove_columns("label") if task == "stsb" and set(rows["label"][:]) == {-1.0} else rows
        for split, rows in splits.items()
    }


@dataclass(frozen=True, kw_only=True)
class _GlueReader(CsvReader):
    """Texts, label and number of each row."""

    task: _Task

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        schemas = {}
        for split, (path,) in files.items():
            names = self.columns_of(path, split)
            for column in self.task.texts.values():
                if column not in names:
                    problem = f"no such column; columns: {', '.join(names)}"
                    raise DataError(problem, file=path, split=split, column=column)
            fields = [pa.field(name, pa.large_string()) for name in self.task.texts]
            if self.task.label in names:
                fields.append(pa.field("label", pa.string() if self.task.classes else pa.float64()))
            schemas[split] = pa.schema([*fields, pa.field("idx", pa.int64())])
        return schemas

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        header = self.columns_of(at.address, at.split or "")
        texts = [header.index(column) for column in self.task.texts.values()]
        for row in super().rows(at, header):
            label = [self._label(row[header.index(self.task.label)], at)] if "label" in names else []
            yield [*(row[number] for number in texts), *label, at.row]

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind)

    def _label(self, value: str, at: Position) -> str | float:
        try:
            return float(value) if self.task.classes is None else self.task.classes[value]
        except (KeyError, ValueError):
            expected = "a number" if self.task.classes is None else f"one of {', '.join(self.task.classes)}"
            raise at.error(f"expected {expected}, found {value!r}", column=self.task.label) from None
