"""Rules about several options: each passes over values that a class of the user's may have."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from runwright.config.compose import compose
from runwright.config.rules.table import RULES, Rule, at_most, at_most_one, check_rules, distinct
from runwright.errors import Mistake

ANYTHING: list[Any] = [
    None, True, 0, -1.5, "", "tune", "loss", [], [[1]], ["a", 2, "byte_level"], {}, {"a": None, "b": [{}]},
    {"_target_": "own.thing", "gamma": "x"}, {"_target_": "runwright.task.losses.Focal", "gamma": {"a": "x"}},
]  # fmt: skip
NODES = ("metric", "_target_")  # whatever the classes are: mappings of nodes, and names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.check.__qualname__}-{'-'.join(rule.keys)}")
def test_a_rule_takes_any_values(rule: Rule) -> None:
    choices = [
        [{"a": {"_target_": "runwright.metric.x.Y"}}] if key in NODES else ANYTHING for key in rule.keys
    ]
    for values in product(*choices):
        assert all(isinstance(mistake, Mistake) for mistake in rule.check(*values))


def test_a_rule_is_skipped_where_a_key_is_absent_or_wrong_already() -> None:
    rule = at_most("a.low", "a.high")
    config = {"a": {"low": 2, "high": 1}}
    mistake = Mistake(key="a.high.x", given="x", expected="y")
    assert [m.key for m in check_rules([rule], config, [])] == ["a.low"]
    assert check_rules([rule], config, [mistake]) == []
    assert check_rules([rule], {"a": {"low": 2}}, []) == []


def test_a_key_with_a_question_mark_may_be_absent() -> None:
    rule = distinct("text", "other?")
    assert check_rules([rule], {"text": "a"}, []) == []
    (mistake,) = check_rules([rule], {"text": "a", "other": "a"}, [])
    assert str(mistake) == "other: given 'a', the same as text, expected another column"


def test_a_rule_within_a_group_holds_for_every_node_in_it() -> None:
    rule = at_most("min", "max", within="dataset")
    node = {"_target_": "x", "min": 3, "max": 2}
    config = {"dataset": {"_target_": "y", "steps": [{"_target_": "z", "inner": node}, {"min": 3, "max": 2}]}}
    assert [m.key for m in check_rules([rule], config, [])] == ["dataset.steps.0.inner.min"]


def test_zero_and_null_are_not_set() -> None:
    rule = at_most_one("a", "b")
    assert check_rules([rule], {"a": 0, "b": 2}, []) == []
    (mistake,) = check_rules([rule], {"a": [], "b": 2}, [])
    assert str(mistake) == "b: given a=[] and b=2, expected at most one of them; set the other to null"


@pytest.mark.parametrize(
    ("model", "task", "choice"),
    [
        ("scratch", "causal_language_modeling", "scratch_decoder"),
        ("scratch", "instruction_tuning", "scratch_decoder"),
        ("scratch", "translation", "scratch_encoder_decoder"),
        ("scratch_decoder", "summarization", "scratch_encoder_decoder"),
        ("scratch_decoder", "denoising", "scratch_encoder_decoder"),
    ],
)
def test_half_a_model_from_random_weights_is_refused_for_a_task_of_the_other(
    model: str, task: str, choice: str
) -> None:
    def hints(option: str, *more: str) -> list[str]:
        config = compose([f"task={task}", f"model={option}", "tokenizer=train/bpe", *more]).config
        return [m.hint for m in check_rules(RULES, config, []) if m.key == "model.architecture"]

    assert [hint.split()[0] for hint in hints(model)] == [f"model={choice}"]
    assert hints(choice) == []
    assert choice != "scratch_decoder" or hints(model, "+model.config.is_decoder=true") == []


def test_metrics_of_texts_need_a_strategy_of_generation() -> None:
    bleu = {"_target_": "runwright.metric.texts.bleu"}
    config: dict[str, Any] = {
        "metric": {"bleu": bleu},
        "task": {"_target_": "runwright.task.sequence_to_sequence.SequenceToSequence"},
    }
    (mistake,) = check_rules(RULES, config, [])
    assert str(mistake).startswith("metric.bleu: given a metric of texts with generation null")
    greedy = {"_target_": "runwright.generation.strategies.Greedy"}
    assert check_rules(RULES, config | {"generation": greedy}, []) == []
