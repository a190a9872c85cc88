"""Search spaces in Hydra's grammar: axes, conditions, pairs, constraints."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from runwright.config.folders import find_conf_folders
from runwright.config.loading import config_loader
from runwright.errors import ConfigError
from runwright.sweep.space import Space, pairs, read_space


def draw_many(space: Space, count: int = 60) -> list[dict[str, str]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.draw(study.ask()) for _ in range(count)]
    return [pairs(one) for one in drawn if one is not None]


def test_every_kind_of_axis_is_drawn_from_its_values_alone() -> None:
    params = {
        "a": "choice(x, 'two words', 3)",
        "b": "range(1, 9, 3)",
        "c": "tag(log, interval(1e-5, 1e-3))",
        "d": "int(interval(1, 3))",
        "e": "interval(0, 1)",
    }
    drawn = draw_many(read_space(["f=7"], params))
    assert {one["a"] for one in drawn} == {"x", "'two words'", "3"}
    assert {one["b"] for one in drawn} == {"1", "4", "7"}
    assert {one["d"] for one in drawn} == {"1", "2", "3"}
    assert all(1e-5 <= float(one["c"]) <= 1e-3 for one in drawn)
    assert sum(float(one["c"]) < 1e-4 for one in drawn) > 15  # half of them, were it not for chance
    assert all(0 <= float(one["e"]) <= 1 for one in drawn)
    assert {one["f"] for one in drawn} == {"7"}


def test_a_choice_keeps_the_quotes_that_its_text_needs() -> None:
    space = read_space([], {"y": "choice('ü',\"c,d\",'it\\'s',1,true,[1,'ü x'],{a: 'ü'},'')"})
    written = [f"y={text}" for text in space.axes[0].values()]
    values = [override.value() for override in OverridesParser.create().parse_overrides(written)]
    assert values == ["ü", "c,d", "it's", 1, True, [1, "ü x"], {"a": "ü"}, ""]


@pytest.mark.parametrize("axis", ["interval(0,inf)", "interval(0,nan)", "interval(-inf,0)"])
def test_an_interval_has_two_ends(axis: str) -> None:
    with pytest.raises(ConfigError, match="x: expected a lower end"):
        read_space([], {"x": axis})


def test_an_axis_of_a_file_that_hydra_cannot_read_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"params.lr: given 'intervall\(0,1\)'.*Unknown function 'intervall'"
    ):
        read_space([], {"lr": "intervall(0,1)"})
    with pytest.raises(ConfigError, match=r"params.lr: given 'choice\(1,', expected an axis"):
        read_space([], {"lr": "choice(1,"})


def test_keys_that_change_together_are_one_axis() -> None:
    drawn = draw_many(read_space([], {"a,b": "choice([1, x], [2, y])"}))
    assert {(one["a"], one["b"]) for one in drawn} == {("1", "x"), ("2", "y")}


def test_an_axis_with_a_condition_is_drawn_where_it_holds_only() -> None:
    params = {"momentum": "interval(0, 1)", "optimizer": "choice(sgd, adamw)"}
    drawn = draw_many(read_space([], params, conditions={"momentum": "optimizer=sgd"}))
    assert {one["optimizer"] for one in drawn} == {"sgd", "adamw"}
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in drawn)


def test_values_to_be_tried_first_are_those_of_the_axes() -> None:
    space = read_space([], {"a": "choice(0,1e-4)", "b": "choice(true,x y)", "c": "interval(0,1)"})
    assert space.parameters({"a": 0.0001, "b": True, "c": 0.5}) == {"a": "0.0001", "b": "true", "c": 0.5}
    assert space.parameters({"a": 0, "b": "x y"}) == {"a": "0", "b": "'x y'"}
    with pytest.raises(ConfigError, match="first: given 'd', expected axes: a, b, c"):
        space.parameters({"d": 1})
    with pytest.raises(ConfigError, match=r"first: given c=1.5, expected 0.0 to 1.0"):
        space.parameters({"c": 1.5})
    with pytest.raises(ConfigError, match=r"first: given b=false, expected choice\(true, 'x y'\)"):
        space.parameters({"b": "false"})


def test_a_condition_on_a_key_that_is_never_set_is_refused() -> None:
    for condition in ("z=1", "z", "True"):
        with pytest.raises(ConfigError, match=r"when\.b: given '.*', expected key=value of another axis"):
            read_space([], {"a": "choice(1,2)", "b": "choice(3,4)"}, conditions={"b": condition})


def test_conditions_may_follow_from_one_another_in_any_order() -> None:
    params = {"c": "choice(5, 6)", "b": "choice(3, 4)", "a": "choice(1, 2)"}
    space = read_space([], params, conditions={"c": "b=4", "b": "a=2"})
    both = [{"a": "2", "b": "4", "c": c} for c in ("5", "6")]
    assert sorted(space.grid(), key=str) == [{"a": "1"}, {"a": "2", "b": "3"}, *both]
    assert ["a=2", "b=4", "c=6"] in space.examples()
    with pytest.raises(ConfigError, match=r"when: given conditions of .*b.* on one another"):
        read_space([], params, conditions={"c": "b=4", "b": "c=5"})


def test_a_condition_may_be_on_a_value_that_is_fixed() -> None:
    params = {"momentum": "choice(0, 1)", "lr": "choice(1, 2)"}
    space = read_space(["optimizer=adamw"], params, conditions={"momentum": "optimizer=sgd"})
    assert all("momentum" not in one for one in draw_many(space))


def test_the_command_line_replaces_an_axis_of_a_file() -> None:
    space = read_space(["a=1,2", "b=5"], {"a": "choice(7, 8)", "b": "interval(0, 1)"})
    assert [axis.values() for axis in space.axes] == [["1", "2"]]
    assert space.fixed == ("b=5",)


def test_a_grid_has_every_allowed_combination_once() -> None:
    params = {"a": "choice(1, 2)", "b": "range(1, 4)", "c": "choice(x, y)"}
    space = read_space([], params, conditions={"c": "a=2"}, constraints=["a * b <= 4", "b != 3"])
    expected = [
        {"a": "1", "b": 1}, {"a": "1", "b": 2},
        *({"a": "2", "b": b, "c": c} for b in (1, 2) for c in ("x", "y")),
    ]  # fmt: skip
    assert sorted(space.grid(), key=str) == sorted(expected, key=str)


def test_a_trial_that_breaks_a_constraint_is_none() -> None:
    space = read_space([], {"a": "int(interval(1, 9))"}, constraints=["2 * a < 7"])
    drawn = draw_many(space)
    assert 10 < len(drawn) < 40
    assert {one["a"] for one in drawn} == {"1", "2", "3"}


def test_examples_show_every_value_and_both_ends_beside_the_first_ones() -> None:
    params = {"a": "choice(x, y)", "b": "interval(0, 1)", "m": "choice(5, 6)"}
    space = read_space([], params, conditions={"m": "a=y"})
    assert list(space.examples()) == [
        ["a=x", "b=0.0"], ["a=y", "b=0.0", "m=5"], ["a=x", "b=1.0"], ["a=y", "b=0.0", "m=6"],
    ]  # fmt: skip


def test_an_axis_may_be_all_options_of_a_group() -> None:
    folders = find_conf_folders()
    space = read_space(["optimizer=glob(*)"], {}, loader=config_loader(folders))
    assert space.axes[0].values() == sorted(folders.options("optimizer"))


def test_examples_leave_out_what_constraints_refuse_and_find_a_wrong_one() -> None:
    params = {"a.b": "choice(1, 2, 3)", "name": "choice(x, y)"}
    space = read_space([], params, constraints=["a.b != 2"])
    assert list(space.examples()) == [["a.b=1", "name=x"], ["a.b=3", "name=x"], ["a.b=1", "name=y"]]
    with pytest.raises(ConfigError, match=r"constraints: given 'a.c < 1' .*, expected numbers and keys"):
        list(read_space([], params, constraints=["a.c < 1"]).examples())


@pytest.mark.parametrize(
    ("params", "more", "text"),
    [
        ({"a": "range(5, 5)"}, {}, "a range without values"),
        ({"a": "tag(log, interval(0, 1))"}, {}, "`low > 0` must hold"),
        ({"a": "interval(2, 1)"}, {}, "`low <= high` must hold"),
        ({"a": "tag(log, range(1, 9, 2))"}, {}, "step is 1 when `log`"),
        ({"a,b": "choice(1, 2)"}, {}, "a value for each key"),
        ({"a": "choice(1, 2)"}, {"conditions": {"b": "a=1"}}, "one of the axes a"),
    ],
)
def test_a_wrong_axis_is_refused_with_what_to_write(
    params: dict[str, Any], more: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        read_space([], params, **more)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "a and b", "a < b.c", "a <", "f(a) < 1", "a.__class__", "a < 'x'"]
)
def test_a_constraint_runs_nothing_but_arithmetic(text: str) -> None:
    space = read_space([], {"a": "choice(1, 2)"}, constraints=[text])
    with pytest.raises(ConfigError, match="constraints: "):
        list(space.grid())


def test_a_grid_of_an_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a: given an interval, a grid takes choice"):
        list(read_space([], {"a": "interval(0, 1)"}).grid())
