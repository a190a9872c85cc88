"""Encoding, labels, losses and predictions of sequence classification."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from runwright.errors import ConfigError, DataError


def splits(labels: list[Any], **others: list[Any]) -> dict[str, Dataset]:
    rows = {"row_id": list(range(len(labels))), "text": ["a b"] * len(labels), "label": labels, **others}
    return {"train": Dataset.from_dict(rows)}


def test_class_names_come_sorted_from_the_training_split(make_task: Any) -> None:
    task = make_task()
    task.fit(splits(["no", "yes", "maybe", "yes"]))
    assert task.label_names == ("maybe", "no", "yes")
    assert task.head.num_labels == 3
    assert task.read_labels(splits(["yes", "no"])["train"], split="train") == [2, 1]


def test_an_unknown_label_is_named_by_its_first_row(make_task: Any) -> None:
    task = make_task()
    task.fit(splits(["no", "yes"]))
    with pytest.raises(DataError, match="unknown label 'new'") as caught:
        task.read_labels(splits(["no", "yes", "yes", "new", "other", "new"])["train"], split="train")
    assert caught.value.row == 3


def test_numeric_classes_are_in_numeric_order(make_task: Any) -> None:
    task = make_task()
    task.fit(splits([10, 9, 2, 10]))
    assert task.label_names == ("2", "9", "10")


def test_names_of_a_data_set_s_own_classes_are_kept(make_task: Any) -> None:
    features = Features(
        {"row_id": Value("int64"), "text": Value("string"), "label": ClassLabel(names=["z", "a"])}
    )
    rows = Dataset.from_dict({"row_id": [0, 1], "text": ["a", "b"], "label": [0, 1]}, features=features)
    task = make_task()
    task.fit({"train": rows})
    assert task.label_names == ("z", "a")
    other = rows.cast_column("label", ClassLabel(names=["a", "z"]))
    assert task.read_labels(other, split="test") == [1, 0]
    task = make_task(label_names=["first", "second"])
    task.fit({"train": rows})
    assert task.read_labels(other, split="test") == [0, 1]


def test_names_of_lists_of_classes_are_kept(make_task: Any) -> None:
    features = Features(
        {"row_id": Value("int64"), "text": Value("string"), "label": Sequence(ClassLabel(names=["z", "a"]))}
    )
    rows = Dataset.from_dict(
        {"row_id": [0, 1, 2], "text": ["a", "b", "c"], "label": [[0], [1, 0], None]}, features=features
    )
    task = make_task("multi_label")
    task.fit({"train": rows})
    assert task.label_names == ("z", "a")
    assert task.read_labels(rows, split="train") == [[0], [0, 1], []]


def test_a_label_file_names_the_ids(make_task: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("joy\nfear\nlove\n")
    task = make_task("multi_label", label_file=str(file))
    data = splits(["0,2", "", "fear"])
    task.fit(data)
    assert task.read_labels(data["train"], split="train") == [[0, 2], [], [1]]


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        ("single_label", ["x", "x"], "only one class"),
        ("single_label", ["x", "y", None], r"row 2, column 'label': the label is empty"),
        ("regression", [1.0, 2.0, float("inf")], r"row 2, column 'label': expected a finite number"),
        ("regression", ["1", "two"], r"row 1.*given 'two'"),
        ("multi_label", ["x", "x"], "only one class"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(
    make_task: Any, problem: str, labels: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_task(problem).fit(splits(labels))


def test_an_unknown_label_names_the_nearest_class(make_task: Any) -> None:
    data = splits(["happy", "sad"])
    data["test"] = splits(["happy", "hapy"])["train"]
    with pytest.raises(DataError, match=r"split 'test', row 1.*did you mean 'happy'"):
        make_task().fit(data)


def test_an_unknown_label_that_holds_several_says_how_they_are_read(make_task: Any) -> None:
    data = splits(["joy", "joy|sad", "sad"])
    data["test"] = splits(["sad|joy"])["train"]
    expected = "1 of 3 class names hold '|', such as 'joy|sad'; for several classes a row: "
    expected += "task.problem=multi_label 'task.label_separator=\"|\"'"
    with pytest.raises(DataError, match=re.escape(expected)):
        make_task().fit(data)


def test_hidden_labels_of_a_test_split_are_no_labels(make_task: Any) -> None:
    data = splits(["0", "1"])
    data["test"] = splits([-1, -1])["train"]
    task = make_task()
    task.fit(data)
    assert task.read_labels(data["test"], split="test") is None


@pytest.mark.parametrize(
    ("problem", "train", "expected"),
    [("single_label", [-1, 0, 1], [0, 0]), ("regression", [-0.5, 1.0], [-1.0, -1.0])],
)
def test_minus_one_is_a_label_where_train_has_such(
    make_task: Any, problem: str, train: list[Any], expected: list[Any]
) -> None:
    data = splits(train) | {"test": splits([-1, -1])["train"]}
    task, loaded = make_task(problem), make_task(problem)
    task.fit(data)
    loaded.load_state_dict(json.loads(json.dumps(task.state_dict())))
    assert loaded.read_labels(data["test"], split="test") == expected
    assert not any("test" in note for note in loaded.label_notes(data))


def test_hidden_and_half_hidden_labels_are_said(make_task: Any) -> None:
    data = splits([0.5, 5.0]) | {"test": splits([-1.0, -1.0])["train"], "other": splits([None])["train"]}
    task = make_task("regression")
    task.fit(data)
    assert [note.partition(" (")[0] for note in task.label_notes(data)] == [
        "no row of test has a label",
        "no row of other has a label",
    ]
    data = splits(["x", "y"]) | {"test": splits(["x", "-1"])["train"]}
    with pytest.raises(DataError, match=r"unknown label '-1'.*DropValues drops such rows"):
        make_task().fit(data)


def test_a_list_of_one_class_is_that_class(make_task: Any) -> None:
    task = make_task()
    task.fit(splits([["b"], ["a"], ["b"]]))
    assert (task.label_names, task.read_labels(splits([["a"]])["train"], split="test")) == (("a", "b"), [0])
    with pytest.raises(DataError, match=r"expected one class, given \['a', 'b'\]; .*problem=multi_label"):
        task.read_labels(splits([["a"], ["a", "b"]])["train"], split="test")


def test_wrong_labels_are_told_together_with_their_counts(make_task: Any) -> None:
    values = ["x", "yy", "y", "z", "yy", None, *"abc"]
    with pytest.raises(DataError, match="unknown label 'yy'; the 2 classes are 'x', 'y'") as caught:
        make_task(label_names=["x", "y"]).fit(splits(values))
    told = "wrong labels, with counts: 'yy' (2), 'z' (1), None (1), 'a' (1), 'b' (1)"
    assert (caught.value.row, caught.value.column) == (1, "label")
    assert caught.value.problem.endswith(told)
    with pytest.raises(DataError, match=r"given '\?'; wrong labels, with counts: '\?' \(2\), 'n/a' \(1\)$"):
        make_task("regression").fit(splits(["1.5", "?", "n/a", "?"]))


VECTORS = [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "labels",
    [
        VECTORS,
        [list(map(float, row)) for row in VECTORS],
        [list(map(bool, row)) for row in VECTORS],
        [str(row) for row in VECTORS],
        ["[1 0 1]", "[0 1 0]", "[0 0 0]"],
        ["1,0,1", "0,1,0", "0,0,0"],
    ],
)
def test_vectors_of_0_and_1_are_one_number_for_each_class(make_task: Any, labels: list[Any]) -> None:
    task = make_task("multi_label", label_names=["price", "delay", "speed"])
    task.fit(splits(labels))
    assert task.read_labels(splits(labels)["train"], split="train") == [[0, 2], [1], []]
    # One row of a test split tells as much: train has said what its numbers are.
    assert task.read_labels(splits(labels[1:2])["train"], split="test") == [[1]]
    with pytest.raises(DataError, match=r"row 0.*expected 3 numbers, 0 or 1, one for each class"):
        task.read_labels(splits(["delay"])["train"], split="test")
    for names in (None, ["a", "b"]):
        with pytest.raises(DataError, match=r"given . names of classes, expected 3 in their order"):
            make_task("multi_label", label_names=names).fit(splits(labels))


def test_a_column_for_each_class_names_the_classes(make_task: Any) -> None:
    data = splits([0, 0], toxic=["1", "0"], mild=[True, False])
    task = make_task("multi_label", label_column=["toxic", "mild"])
    task.fit(data)
    assert task.label_names == ("toxic", "mild")
    assert task.read_labels(data["train"], split="train") == [[0, 1], []]
    with pytest.raises(DataError, match=r"row 1.*given \[0, 'no'\], expected 2 numbers, 0 or 1, one for"):
        task.fit(splits([0, 0], toxic=[1, 0], mild=["1", "no"]))
    with pytest.raises(DataError, match=r"column 'mld': no such column; .* did you mean 'mild'"):
        make_task("multi_label", label_column=["toxic", "mld"]).fit(data)


@pytest.mark.parametrize(
    "labels",
    [
        ['["a b", "c"]', '["c"]', "[]"],
        ["['a b', 'c']", "['c']", ""],
        ["['a b' 'c']", "['c']", None],
        ["('a b', 'c')", "('c',)", "()"],
        ["{'a b', 'c'}", "{'c'}", "{}"],
        [["a b", "c"], ["c"], []],
        ["a b, c", "c", None],
    ],
)
def test_lists_of_labels_are_read_in_any_notation(make_task: Any, labels: list[Any]) -> None:
    task = make_task("multi_label")
    task.fit(splits(labels))
    assert task.label_names == ("a b", "c")
    assert task.read_labels(splits(labels)["train"], split="train") == [[0, 1], [1], []]


def test_vectors_of_unequal_length_are_no_ids(make_task: Any) -> None:
    with pytest.raises(DataError, match=r"row 1.*given \[1, 0, 1\], a class twice"):
        make_task("multi_label", label_names=["a", "b", "c"]).fit(splits([[1, 0], [1, 0, 1]]))


@pytest.mark.parametrize(
    ("problem", "labels"), [("multi_label", ["[joy, anger]", "[joy]"]), ("single_label", ["['a']", "['b']"])]
)
def test_what_is_half_a_list_is_no_class(make_task: Any, problem: str, labels: list[str]) -> None:
    with pytest.raises(DataError, match="reads as a list, or a piece of one"):
        make_task(problem).fit(splits(labels))


def test_numbers_that_are_written_in_two_ways_look_the_same(make_task: Any) -> None:
    task = make_task("single_label")
    task.fit(splits(["1", "1.0", "01", "0", "?"]))
    assert task.label_notes({}) == ["classes that look the same: '01', '1', '1.0'; MapValues makes them one"]


def test_classes_that_may_be_meant_otherwise_are_pointed_out(make_task: Any) -> None:
    task = make_task("multi_label")
    task.fit(splits(["joy;anger", "joy", "Joy", "very good", "good", "ok/no"]))
    first, second = task.label_notes({})
    assert first == "classes that look the same: 'Joy', 'joy'; MapValues makes them one"
    assert second.startswith("1 of 6 class names hold ';', such as 'joy;anger'")
    assert second.endswith(
        "; for several classes a row: task.problem=multi_label 'task.label_separator=\";\"'"
    )
    task = make_task()
    task.fit(splits(["pos", "\uff50os", "p\u200bos", "a\xa0b", "a b", "C", "C++"]))
    (note,) = task.label_notes({})
    assert "'pos'" in note
    assert "'a b', 'a\\xa0b'" in note
    assert "C++" not in note


@pytest.mark.parametrize("form", [str, int])
def test_ids_are_refused_where_the_names_of_classes_came_out_of_train(make_task: Any, form: type) -> None:
    test = splits([form(0), form(1)])["train"]
    data = splits(["none", "hate"])
    with pytest.raises(DataError, match=r"unknown label .*hate.*none"):
        make_task().fit(data | {"validation": test})
    task, later = make_task(), make_task()
    task.fit(data)
    later.load_state_dict(json.loads(json.dumps(task.state_dict())))
    with pytest.raises(DataError, match="unknown label"):
        later.read_labels(test, split="test")
    named = make_task(label_names=["none", "hate"])
    named.fit(data)
    assert named.read_labels(test, split="test") == [0, 1]


@pytest.mark.parametrize("labels", [["1 0 1", "0 1 0"], ["1;0;1", "0;1;0"], ["101", "010"], [101, 110, 100]])
@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_numbers_for_each_class_in_one_text_are_no_class(
    make_task: Any, labels: list[Any], names: list[str] | None
) -> None:
    with pytest.raises(DataError, match=r"such as \[1, 0, 1\], or set .*task\.label_names"):
        make_task("multi_label", label_names=names).fit(splits(labels))
    for classes in (["10", "11"], ["1", "0"], ["101", "20"]):
        make_task("multi_label").fit(splits(classes))


def test_decimal_numbers_as_classes_are_said(make_task: Any) -> None:
    task, data = make_task(), splits([1.1] * 10 + [1.2], place=[2.0] * 11)
    task.fit(data)
    (note,) = task.label_notes(data)
    assert note.startswith("'label' is read as decimal numbers: 1.1 and 1.10,")
    assert "++dataset.source.column_types.label=string" in note
    task = make_task("regression", group_column="place")
    task.fit(data)
    assert [note.partition(" ")[0] for note in task.label_notes(data)] == ["'place'"]


def test_a_class_is_the_same_composed_and_decomposed(make_task: Any) -> None:
    data = splits(["caf\u00e9", "tea"]) | {"test": splits(["cafe\u0301"])["train"]}
    for names in (None, ["cafe\u0301", "tea"]):
        task = make_task(label_names=names)
        task.fit(data)
        assert task.label_names == ("caf\u00e9", "tea")
        assert task.read_labels(data["test"], split="test") == [0]
    with pytest.raises(ConfigError, match="doubled"):
        make_task(label_names=["cafe\u0301", "caf\u00e9"])


def test_the_positive_class_is_class_1_or_the_one_that_is_named(make_task: Any) -> None:
    for name, index in ((None, 1), ("none", 1), ("hate", 0)):
        task = make_task(positive_label=name)
        task.fit(splits(["hate", "none"]))
        assert task.positive == index
    with pytest.raises(ConfigError, match="given 'Hate', expected one of two classes; there are hate, none"):
        make_task(positive_label="Hate").fit(splits(["hate", "none"]))
    with pytest.raises(ConfigError, match="given 'a', expected one of two classes; there are a, b, c"):
        make_task(positive_label="a").fit(splits(["a", "b", "c"]))


def test_a_missing_label_column_lists_the_columns(make_task: Any) -> None:
    with pytest.raises(DataError, match=r"columns: 'text', 'label'; did you mean .label."):
        make_task(label_column="lable").fit(splits(["x", "y"]))


def test_balanced_weights_are_scikit_learn_s(make_task: Any) -> None:
    task = make_task(class_weights="balanced")
    task.fit(splits(["x"] * 6 + ["y"] * 2))
    assert task.class_weights == (8 / (2 * 6), 8 / (2 * 2))


def test_weights_by_name_must_name_every_class(make_task: Any) -> None:
    with pytest.raises(ConfigError, match=r"unknown \['z'\], missing \['y'\]"):
        make_task(class_weights={"x": 1.0, "z": 2.0}).fit(splits(["x", "y"]))


def test_encoding_counts_what_truncation_takes(make_task: Any) -> None:
    task = make_task(max_length=5)
    examples = task.encode({"row_id": [7, 8], "text": ["a b c d a b", None]})
    assert examples[0]["input_ids"] == [2, 4, 5, 6, 3]
    assert [example["full_length"] for example in examples] == [8, 2]
    assert [example["example_id"] for example in examples] == [7, 8]
    assert "token_type_ids" not in examples[0]


def test_a_pair_has_token_types_and_loses_from_the_longer_text(make_task: Any) -> None:
    task = make_task(text_pair_column="other", max_length=7)
    (example,) = task.encode({"row_id": [0], "text": ["a b c d a b"], "other": ["d"]})
    assert example["input_ids"] == [2, 4, 5, 6, 3, 7, 3]
    assert example["token_type_ids"] == [0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_on_its_side_and_masked(make_task: Any, tokenizer: Any, side: str) -> None:
    task = make_task()
    tokenizer.padding_side = side
    try:
        batch = task.collate(task.encode({"row_id": [0, 1], "text": ["a b c", "d"]}))
    finally:
        tokenizer.padding_side = "right"
    short = [0, 0, 2, 7, 3] if side == "left" else [2, 7, 3, 0, 0]
    assert batch["input_ids"].tolist() == [[2, 4, 5, 6, 3], short]
    assert batch["attention_mask"].tolist() == [[1] * 5, [int(token != 0) for token in short]]


def test_losses_of_predictions_are_plain(make_task: Any) -> None:
    task = make_task(label_smoothing=0.2, class_weights={"x": 5.0, "y": 1.0})
    task.fit(splits(["x", "y"]))
    batch = {"labels": torch.tensor([0, 1]), "example_ids": torch.tensor([3, 4])}
    found = task.predictions(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), batch)
    probability = 1 / (1 + math.exp(-2.0))
    assert found.losses == pytest.approx([-math.log(probability), -math.log(1 - probability)], rel=1e-6)
    assert found.predicted.tolist() == [0, 0]
    assert found.scores is not None
    assert found.scores[0] == pytest.approx([probability, 1 - probability], rel=1e-6)


def test_multi_label_predictions_reach_the_threshold(make_task: Any) -> None:
    task = make_task("multi_label", threshold=0.3)
    task.load_state_dict({"label_names": ["x", "y", "z"], "group_names": [], "class_weights": None})
    logit = math.log(0.3 / 0.7)
    found = task.predictions(
        torch.tensor([[logit + 1e-3, logit - 1e-3, 5.0]]), {"example_ids": torch.tensor([0])}
    )
    assert found.predicted.tolist() == [[True, False, True]]
    assert task.describe(found, 0, row={}, all_scores=False)["predicted"] == ["x", "z"]


def test_multi_label_positive_weights_are_negatives_per_positive(make_task: Any) -> None:
    task = make_task("multi_label", class_weights="balanced")
    task.fit(splits(["x", "x,y", "x", "x,y", ""]))
    assert task.class_weights == (1 / 4, 3 / 2)


def test_regression_predicts_the_logit(make_task: Any) -> None:
    task = make_task("regression")
    task.fit(splits([0.5, -1.0]))
    batch = task.collate(task.encode({"row_id": [0, 1], "text": ["a", "b"], "labels": [0.5, -1.0]}))
    found = task.predictions(torch.tensor([[1.0], [0.0]]), batch)
    assert found.predicted.tolist() == [1.0, 0.0]
    assert found.losses is not None
    assert np.allclose(found.losses, [0.25, 1.0])
    assert task.loss(torch.tensor([[1.0], [0.0]]), batch).total.item() == pytest.approx(1.25)


def test_the_state_travels_as_json(make_task: Any) -> None:
    task = make_task(class_weights="balanced", group_column="kind")
    task.fit(splits(["x", "y"], kind=["k1", "k2"]))
    other = make_task()
    other.load_state_dict(task.state_dict())
    assert other.state_dict() == task.state_dict()
    assert other.head == task.head


def test_groups_are_numbered_and_unknown_ones_are_minus_one(make_task: Any) -> None:
    task = make_task(group_column="kind")
    task.fit(splits(["x", "y"], kind=["k2", "k1"]))
    examples = task.encode({"row_id": [0, 1], "text": ["a", "b"], "kind": ["k2", "new"]})
    assert [example["group"] for example in examples] == [1, -1]


def test_logits_are_float32_at_least(make_task: Any) -> None:
    task = make_task()
    batch = {"input_ids": torch.ones(1, 1)}
    for dtype, expected in [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]:
        logits = torch.ones(1, 2, dtype=dtype)
        assert (
            task.forward(lambda logits=logits, **_: SimpleNamespace(logits=logits), batch).dtype == expected
        )


def test_names_that_cannot_be_read_or_are_doubled_are_refused(make_task: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file of class names cannot be read"):
        make_task(label_file=str(tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match="doubled"):
        make_task(label_names=["a", "a"])
