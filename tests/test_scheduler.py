"""Schedules: their rates against transformers itself, warm-up, and what is refused."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from runwright.errors import ConfigError
from runwright.scheduler import by_name

CONF = Path(__file__).resolve().parents[1] / "conf" / "scheduler"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
FOLLOWING = {"reduce_lr_on_plateau", "greedy"}  # a metric; left out


def make_optimizer(lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=lr)


def shipped(name: str) -> dict[str, Any]:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key != "_target_"}


def rates(scheduler: Any, optimizer: torch.optim.Optimizer, num_steps: int) -> list[float]:
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_there_is_one_yaml_for_each_name_of_transformers() -> None:
    assert {name.value for name in SchedulerType} == {*NAMES} | FOLLOWING
    assert all(shipped(name)["name"] == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_are_those_of_transformers(name: str) -> None:
    options = shipped(name)
    optimizer, reference = make_optimizer(), make_optimizer()
    ours = by_name(optimizer, 50, **options)
    own = dict(options["options"])
    if name == "warmup_stable_decay":
        own.pop("decay_ratio")
        own["num_decay_steps"] = 10
    num_warmup_steps = 3 if options["warmup_ratio"] else 0
    theirs = get_scheduler(name, reference, num_warmup_steps, 50, scheduler_specific_kwargs=own)
    assert rates(ours, optimizer, 55) == rates(theirs, reference, 55)


def test_linear_goes_up_to_the_peak_and_down_to_zero() -> None:
    optimizer = make_optimizer(1.0)
    scheduler = by_name(optimizer, 6, name="linear", warmup_steps=2, warmup_ratio=None, options={})
    assert rates(scheduler, optimizer, 7) == [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("name", NAMES)
def test_the_step_alone_restores_a_schedule(name: str) -> None:
    optimizer = make_optimizer()
    scheduler = by_name(optimizer, 20, **shipped(name))
    before = rates(scheduler, optimizer, 20)
    other = make_optimizer()
    restored = by_name(other, 20, **shipped(name))
    restored.last_epoch = 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: stepped before the optimizer's first step
        restored.step()
    assert other.param_groups[0]["lr"] == before[7]


def test_each_group_keeps_its_share_of_the_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.5)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = by_name(optimizer, 4, name="linear", warmup_steps=None, warmup_ratio=None, options={})
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.75, 0.375]


def test_warm_up_by_ratio_is_rounded_up_without_rounding_noise() -> None:
    def count(num_steps: int, ratio: float) -> int:
        optimizer = make_optimizer(1.0)
        scheduler = by_name(
            optimizer, num_steps, name="linear", warmup_steps=None, warmup_ratio=ratio, options={}
        )
        return rates(scheduler, optimizer, num_steps).index(1.0)

    assert math.ceil(30 * 0.1) == 3
    assert math.ceil(0.1 * 3 * 10) == 4  # why the product is rounded first
    assert [count(30, 0.1), count(31, 0.1), count(100, 0.07), count(1, 0.5)] == [3, 4, 7, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 10, "warmup_ratio": None}, "10 steps in all"),
        ({"name": "constant", "warmup_ratio": 0.1}, "constant_with_warmup"),
        ({"name": "cosine", "options": {"num_cycle": 1}}, "unexpected keyword argument 'num_cycle'"),
        ({"name": "linear", "options": {"power": 1}}, "unexpected keyword argument 'power'"),
        ({"name": "constant_with_warmup", "options": {"power": 1}}, "'constant_with_warmup' has none"),
        ({"name": "polynomial", "options": {"lr_end": 1.0}}, "smaller than initial lr"),
        ({"name": "cosine_with_min_lr", "options": {}}, "min_lr"),
        ({"name": "warmup_stable_decay", "options": {}}, "given no 'decay_ratio', which .* needs"),
        ({"name": "warmup_stable_decay", "options": {"decay_ratio": 20}}, "expected a share from 0 to 1"),
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    options = {"name": "linear", "warmup_steps": None, "warmup_ratio": 0.1, "options": {}} | changes
    with pytest.raises(ConfigError, match=message):
        by_name(make_optimizer(), 10, **options)
