"""Rows that are given in Python: the same files for the same rows, read as what they are."""

from __future__ import annotations

import shutil
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import runwright
from runwright import build
from runwright.config.compose import compose_checked
from runwright.dataset.readers.addresses import require_files
from runwright.errors import ConfigError, DataError
from runwright.tokenizer.trained import stand_in

COLUMNS: dict[str, list[Any]] = {"text": ["a", "b", "c", "d"], "label": ["x", "y", "x", "y"]}


def test_the_same_rows_have_the_same_files_whatever_gave_them() -> None:
    frame = pd.DataFrame(COLUMNS, index=[5, 6, 7, 8])
    files = runwright.keep_rows(frame)
    assert list(files) == ["train"]
    assert runwright.keep_rows({"train": Dataset.from_dict(COLUMNS)}) == files
    assert runwright.keep_rows(frame.astype({"label": "category"})) == files
    assert runwright.keep_rows(frame.assign(label="x")) != files
    rows = Dataset.from_dict(COLUMNS)
    both = runwright.keep_rows(DatasetDict({"train": rows, "test": rows}))
    assert list(both) == ["train", "test"]
    assert both["train"] != files["train"]


def test_classes_keep_their_names_and_columns_their_types(read: Any) -> None:
    label = ClassLabel(names=["no", "yes"])
    features = Features({"text": Value("string"), "label": label, "n": Value("int32")})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0], "n": [1, 2]}, features=features)
    splits = read("parquet", {split: str(file) for split, file in runwright.keep_rows(rows).items()})
    assert splits["train"].features["label"] == label
    assert splits["train"].remove_columns("row_id").to_dict() == rows.to_dict()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"text": "a"}], "data: given list for train, expected a pandas DataFrame, a datasets.Dataset"),
        ({"../../test": Dataset.from_dict(COLUMNS)}, r"given the split '\.\./\.\./test', expected a name"),
        ({"tset": Dataset.from_dict(COLUMNS)}, "given the split 'tset', expected .*did you mean 'test'"),
        ({"test": Dataset.from_dict(COLUMNS).to_iterable_dataset()}, "given IterableDataset for test"),
    ],
)
def test_rows_of_another_kind_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runwright.keep_rows(data)


def test_a_split_may_be_named_after_another() -> None:
    splits = dict.fromkeys(("test_seen", "validation_matched", "dev_2"), Dataset.from_dict(COLUMNS))
    assert [*runwright.keep_rows(splits)] == [*splits]


def test_a_column_of_several_types_is_named() -> None:
    with pytest.raises(
        DataError, match=r"split 'train': the DataFrame has values of no common type: .*label"
    ):
        runwright.run(data=pd.DataFrame({"text": ["a", "b"], "label": ["x", 1]}))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["a", "b"]], columns=["text", "text"]),
        pd.DataFrame({"text": [object()]}),
        pd.DataFrame({"text": [1j]}),
        pd.DataFrame({"text": [{1}, "x"]}),
        pd.DataFrame({"text": [2**70]}),
    ],
    ids=["twice", "object", "complex", "set", "large"],
)
def test_values_that_no_file_takes_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the DataFrame has values of no common type"):
        runwright.keep_rows(frame)


def test_rows_that_are_gone_from_the_cache_say_what_writes_them_again() -> None:
    file = runwright.keep_rows(Dataset.from_dict(COLUMNS))["train"]
    node = {"_target_": "", "files": {"train": str(file)}}
    require_files(node)
    shutil.rmtree(file.parent)
    with pytest.raises(DataError, match=r"given in Python as data=…, .* runwright.keep_rows\(data\) writes"):
        require_files(node)
    runwright.keep_rows(Dataset.from_dict(COLUMNS))
    require_files(node)


NAMES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


def test_a_list_of_zeros_and_ones_as_text_is_the_same_classes_as_a_column_for_each(write: Any) -> None:
    flags = [[1, 0, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 1, 1], [1] * 6]
    texts = [f"comment {number}" for number in range(4)]
    lists = "\n".join(f'{text},"{row}"' for text, row in zip(texts, flags, strict=True))
    columns = "\n".join(f"{text},{','.join(map(str, row))}" for text, row in zip(texts, flags, strict=True))
    forms = {
        "list": (f"comment_text,list\n{lists}\n", f"task.label_names=[{','.join(NAMES)}]", "list"),
        "columns": (f"comment_text,{','.join(NAMES)}\n{columns}\n", "", f"[{','.join(NAMES)}]"),
    }
    learned = []
    for name, (content, names, column) in forms.items():
        overrides = [
            "dataset=csv", f"dataset.source.files.train={write(f'{name}.csv', content)}",
            "dataset.holdout.validation=0", "task.problem=multi_label", "task.text_column=comment_text",
            f"task.label_column={column}", *filter(None, [names]), "metric=[f1_micro]",
        ]  # fmt: skip
        config = compose_checked(overrides).config
        data = build.load_data(config)
        task = build.build_task(config, stand_in())
        build.fit_task(task, data, config)
        learned.append((task.label_names, task.read_labels(data.splits["train"], split="train")))
    assert learned[0] == learned[1]
    assert learned[0] == (tuple(NAMES), [[0, 2], [], [4, 5], [0, 1, 2, 3, 4, 5]])
