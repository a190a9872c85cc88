"""The GLUE benchmark from a hub, or from a folder in its own TSV format.

Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding",
ICLR 2019.
Both ways give the same columns, and classes by the same names; unlabelled test splits come without `label`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from datasets import disable_progress_bars

from runwright import store
from runwright.dataset.cleaning.columns import MapValues
from runwright.dataset.cleaning.passes import renamed
from runwright.dataset.readers.hub import read_hub
from runwright.dataset.readers.raw import ROW_ID
from runwright.dataset.readers.streams import read_files
from runwright.dataset.readers.text_rows import CsvReader
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


class _Task(NamedTuple):
    """Columns of a task's files; `classes` maps a value in the file to the class's name."""

    texts: dict[str, str]  # our column: the name in the header
    label: str
    classes: dict[str, str] | None  # None: the label is a number
    splits: dict[str, tuple[str, ...]] = _SPLITS  # the first file there is
    headerless: tuple[str, ...] = ()  # columns of train and dev files without a header


_SENTENCE = {"sentence": "sentence"}
_SENTENCES = {"sentence1": "sentence1", "sentence2": "sentence2"}
_ENTAILMENT = {"premise": "sentence1", "hypothesis": "sentence2"}
_NLI = {name: name for name in ("entailment", "neutral", "contradiction")}
_TASKS = {
    "cola": _Task(
        _SENTENCE,
        "label",
        {"0": "unacceptable", "1": "acceptable"},
        headerless=("source", "label", "judgement", "sentence"),
    ),
    "sst2": _Task(_SENTENCE, "label", {"0": "negative", "1": "positive"}),
    "mrpc": _Task(
        {"sentence1": "#1 String", "sentence2": "#2 String"},
        "Quality",
        {"0": "not_equivalent", "1": "equivalent"},
    ),
    "stsb": _Task(_SENTENCES, "score", None),
    "qqp": _Task(
        {"question1": "question1", "question2": "question2"},
        "is_duplicate",
        {"0": "not_duplicate", "1": "duplicate"},
    ),
    "mnli": _Task(_ENTAILMENT, "gold_label", _NLI, _MATCHED),
    "qnli": _Task({"question": "question", "sentence": "sentence"}, "label", _ENTAILS),
    "rte": _Task(_SENTENCES, "label", _ENTAILS),
    "wnli": _Task(_SENTENCES, "label", {"0": "not_entailment", "1": "entailment"}),
    "ax": _Task(_ENTAILMENT, "label", None, {"test": ("diagnostic.tsv", "test.tsv")}),
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
    layout = _TASKS[task]
    if folder is None:
        return _from_hub(task, hub_name, revision)
    root = store.local_path(folder)
    if not root.is_dir():
        raise DataError(f"no such folder (looked in {root.absolute()})", file=folder)
    paths = {
        split: next((str(root / name) for name in names if (root / name).is_file()), None)
        for split, names in layout.splits.items()
    }
    if not any(paths.values()) or paths.get("train", "") is None:
        names = [names[0] for names in layout.splits.values()]
        raise DataError(f"the folder has no {names[0]}; expected {', '.join(names)}", file=folder)
    disable_progress_bars()
    splits: Splits = {}
    for split, path in [(split, path) for split, path in paths.items() if path is not None]:
        names = layout.headerless if split != "test" else ()
        # Lenient as the hub's copy is: QQP has a few broken lines, which the published counts leave out.
        reader = CsvReader(delimiter="\t", quote=None, lenient=True, header=not names, column_names=names)
        header, columns = reader.columns_of(path, split), {**layout.texts, "label": layout.label}
        columns = {ours: name for ours, name in columns.items() if ours != "label" or name in header}
        kinds = {name: "string" for name in columns.values() if name in header}
        kinds |= {layout.label: "float"} if layout.classes is None and "label" in columns else {}
        splits |= renamed(read_files(replace(reader, column_types=kinds), {split: [path]}), columns)
        rows = splits[split].select_columns([*columns, ROW_ID])
        splits[split] = rows.add_column("idx", rows[ROW_ID][:])  # pyright: ignore
        if "label" in columns and layout.classes is not None:
            named = MapValues(column="label", values=layout.classes, others="error")
            splits |= named({split: splits[split]})
    return splits


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
