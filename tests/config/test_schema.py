"""Options are read from source without an import, and values are held against them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from runwright.config.compose import compose
from runwright.config.options import OptionType, check_value
from runwright.config.permissions import grant
from runwright.config.signature import find_file, read_signature
from runwright.config.targets import check
from runwright.types import Range

MODULE = '''
"""A module that must never run."""
raise RuntimeError("imported")

from typing import Annotated, Any, ClassVar, Literal, Optional, Union
from dataclasses import dataclass
import typing
from runwright.types import PositiveInt, Range
from runwright import types as t

Small = Annotated[float, Range(ge=0, lt=0.5)]
Mode = Literal["fast", "slow", 3]

def function(first, second=None, *, a: int, b: PositiveInt | None, c: Small, d: Mode = "fast"): ...

def annotations(
    *,
    a: "int | None",
    b: Optional[str],
    c: Union[int, str],
    d: list[PositiveInt],
    e: dict[str, float | None],
    f: typing.Any,
    g: SomethingUnknown,
    h: Annotated[int, Range(ge=-2, le=2)],
    i: list,
    j,
): ...

def weighted_metric(predictions, weights, *, k: int): ...
def plain_metric(predictions) -> float: ...
def table(predictions) -> Table: ...

def free(*objects, x: int, **options): ...

class Base:
    suits = ("single_label",)
    def __init__(self, model, *, size: int) -> None: ...
    def compute(self) -> float: ...

class Child(Base):
    label: str = "child"

class Plain: ...

@dataclass(frozen=True, kw_only=True)
class Options:
    count: ClassVar[int] = 0
    size: PositiveInt
    name: str = "x"
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / name / "parts.py").write_text(MODULE)
    (tmp_path / name / "other.py").write_text("from .parts import Small as Tiny\ndef f(*, x: Tiny): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}.parts"


def options_of(module: str, name: str) -> dict[str, OptionType]:
    signature = read_signature(module, name)
    assert signature is not None
    return {option: found.type for option, found in signature.options.items()}


# --- reading ------------------------------------------------------------------------------------------


def test_nothing_is_imported_to_find_and_read_a_module(module: str) -> None:
    before = set(sys.modules)
    assert find_file(module) is not None
    assert read_signature(module, "function") is not None
    assert set(sys.modules) - before == set()


def test_positional_parameters_are_objects_and_keyword_only_ones_options(module: str) -> None:
    signature = read_signature(module, "function")
    assert signature is not None
    assert signature.objects == ("first", "second")
    assert signature.num_required_objects == 1
    assert list(signature.options) == ["a", "b", "c", "d"]
    assert [option.required for option in signature.options.values()] == [True, True, True, False]


def test_annotations_are_understood(module: str) -> None:
    none, whole, text = OptionType(kind="none"), OptionType(kind="int"), OptionType(kind="str")
    positive = OptionType(kind="int", bounds=Range(ge=1))
    assert options_of(module, "annotations") == {
        "a": OptionType(kind="union", items=(whole, none)),
        "b": OptionType(kind="union", items=(text, none)),
        "c": OptionType(kind="union", items=(whole, text)),
        "d": OptionType(kind="list", items=(positive,)),
        "e": OptionType(
            kind="dict", items=(OptionType(kind="union", items=(OptionType(kind="float"), none)),)
        ),
        "f": OptionType(kind="any"),
        "g": OptionType(kind="any"),
        "h": OptionType(kind="int", bounds=Range(ge=-2, le=2)),
        "i": OptionType(kind="list"),
        "j": OptionType(kind="any"),
    }


def test_aliases_are_followed_within_and_between_modules(module: str) -> None:
    small = OptionType(kind="float", bounds=Range(ge=0, lt=0.5))
    assert options_of(module, "function")["c"] == small
    assert options_of(module, "function")["d"] == OptionType(kind="literal", choices=("fast", "slow", 3))
    assert options_of(module.replace(".parts", ".other"), "f")["x"] == small


def test_classes_dataclasses_and_bases_are_read(module: str) -> None:
    child = read_signature(module, "Child")
    assert child is not None
    assert (child.objects, list(child.options)) == (("model",), ["size"])
    assert child.literals == {"suits": ("single_label",), "label": "child"}
    assert child.returns["compute"] == "float"
    assert list(options_of(module, "Options")) == ["size", "name"]
    assert options_of(module, "Plain") == {}


def test_stars_are_noticed(module: str) -> None:
    signature = read_signature(module, "free")
    assert signature is not None
    assert (signature.accepts_any_object, signature.accepts_any_option) == (True, True)


def test_what_a_module_does_not_define_has_no_signature(module: str) -> None:
    assert read_signature(module, "PositiveInt") is None  # imported there
    assert read_signature(module, "Small") is None  # no class or function
    assert read_signature(f"{module}.nothing", "x") is None
    assert read_signature("math", "sqrt") is None  # no Python source


# --- values -------------------------------------------------------------------------------------------

INT, FLOAT, TEXT = OptionType(kind="int"), OptionType(kind="float"), OptionType(kind="str")
OPTIONAL = OptionType(
    kind="union", items=(OptionType(kind="float", bounds=Range(gt=0)), OptionType(kind="none"))
)


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (1, INT),
        (1, FLOAT),
        (1e-5, FLOAT),
        (None, OPTIONAL),
        (0.5, OPTIONAL),
        ("x", TEXT),
        (True, OptionType(kind="bool")),
        ([1, 2], OptionType(kind="list", items=(INT,))),
        ([], OptionType(kind="list", items=(INT,))),
        ({"a": 1}, OptionType(kind="dict", items=(INT,))),
        ("a", OptionType(kind="literal", choices=("a", 1))),
        ({"_target_": "x"}, OptionType(kind="any")),
    ],
)
def test_right_values_are_taken(value: Any, of: OptionType) -> None:
    assert check_value(value, of, "key") == []


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [
        (True, INT, "a whole number"),
        (True, FLOAT, "a number"),
        (1.0, INT, "a whole number"),
        ("1", INT, "a whole number"),
        (math.nan, FLOAT, "a number"),
        (math.inf, FLOAT, "a number"),
        (math.nan, OptionType(kind="any"), "a finite number"),
        (0, OPTIONAL, "a number > 0 or null"),
        (None, TEXT, "text"),
        ("true", OptionType(kind="bool"), "true or false"),
        ("1", OptionType(kind="literal", choices=("a", 1)), "one of 'a', 1"),
        (True, OptionType(kind="literal", choices=(1,)), "one of 1"),
        ("x", OptionType(kind="list", items=(INT,)), "a list, each a whole number"),
        ([], OptionType(kind="dict", items=(INT,)), "a mapping of names to a whole number"),
        ({"_target_": "x"}, FLOAT, "a number"),
    ],
)
def test_wrong_values_are_not(value: Any, of: OptionType, expected: str) -> None:
    (mistake,) = check_value(value, of, "key")
    assert mistake.expected == expected


def test_the_element_that_is_wrong_is_named() -> None:
    of = OptionType(kind="union", items=(OptionType(kind="none"), OptionType(kind="dict", items=(INT,))))
    (mistake,) = check_value({"a": 1, "b": "x"}, of, "task.weights")
    assert mistake.key == "task.weights.b"


# --- a user's own targets -----------------------------------------------------------------------------


def test_a_target_of_the_users_own_is_held_to_its_signature(module: str, tmp_path: Path) -> None:
    package = module.split(".")[0]
    grant(packages=[package], folder=tmp_path)
    config = dict(compose([], folder=tmp_path).config)
    config["tracker"] = {"_target_": f"{module}.Options", "size": 0, "nme": "x"}
    config["optimizer"] = {"_target_": f"{module}.free", "x": 1, "anything": True}
    mistakes = {mistake.key: mistake for mistake in check(config)}
    grant()
    assert set(mistakes) == {"tracker.size", "tracker.nme"}
    assert mistakes["tracker.nme"].hint == "did you mean 'name'?"


def test_a_target_that_does_not_take_the_objects_is_a_mistake(module: str, tmp_path: Path) -> None:
    grant(packages=[module.split(".")[0]], folder=tmp_path)
    config = dict(compose([], folder=tmp_path).config)
    config["scheduler"] = {"_target_": f"{module}.Child", "size": 1}
    (mistake,) = check(config)
    grant()
    assert mistake.key == "scheduler._target_"
    assert "(optimizer, num_training_steps)" in mistake.expected


def test_a_metric_is_a_function_of_predictions_and_perhaps_weights(module: str, tmp_path: Path) -> None:
    grant(packages=[module.split(".")[0]], folder=tmp_path)
    config = dict(compose([], folder=tmp_path).config)
    weighted = {"_target_": f"{module}.weighted_metric", "k": 1, "suits": ["single_label", "regression"]}
    plain, table = {"_target_": f"{module}.plain_metric"}, {"_target_": f"{module}.table"}
    config["metric"] = {"weighted": weighted, "plain": plain, "table": table}
    assert check(config) == []
    config["trainer"] = {**config["trainer"], "best_metric": "table"}
    assert [each.given for each in check(config)] == ["'table', which is not a number"]
    config["trainer"] = {**config["trainer"], "best_metric": "loss", "best_mode": "min"}
    config["metric"] = {"old": {"_target_": f"{module}.Plain"}, "odd": {**plain, "suits": 1}}
    mistakes = {each.key: each.expected for each in check(config)}
    grant()
    assert mistakes["metric.old._target_"] == "the objects (predictions, weights) before the options"
    assert mistakes["metric.odd.suits"] == "a list, each text"
    assert len(mistakes) == 2


def test_cross_checks_leave_other_values_of_own_targets_alone(module: str, tmp_path: Path) -> None:
    grant(packages=[module.split(".")[0]], folder=tmp_path)
    config = dict(compose([], folder=tmp_path).config)
    config["dataset"] = {"_target_": f"{module}.free", "x": 1, "holdout": 0.1, "subset": "none"}
    assert check(config) == []
    grant()
