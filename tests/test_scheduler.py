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
from runwright.scheduler import by_name, count_warmup_steps, follows_metric

CONF = Path(__file__).resolve().parents[1] / "conf" / "scheduler"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
BY_STEP = [name for name in NAMES if name not in ("reduce_lr_on_plateau", "greedy")]


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
    assert [name.value for name in SchedulerType] == sorted(NAMES, key=[n.value for n in SchedulerType].index)
    assert all(shipped(name)["name"] == name for name in NAMES)


@pytest.mark.parametrize("name", BY_STEP)
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


@pytest.mark.parametrize("name", ["reduce_lr_on_plateau", "greedy"])
def test_a_schedule_that_follows_a_metric_lowers_the_rate_without_progress(name: str) -> None:
    optimizer = make_optimizer(1e-4)
    scheduler = by_name(optimizer, 100, **shipped(name))
    for _ in range(4):
        scheduler.step(1.0)
    assert follows_metric(scheduler)
    assert optimizer.param_groups[0]["lr"] == pytest.approx({"greedy": 0.95e-4}.get(name, 1e-5))


@pytest.mark.parametrize("name", BY_STEP)
def test_the_step_alone_restores_a_schedule_that_follows_no_metric(name: str) -> None:
    optimizer = make_optimizer()
    scheduler = by_name(optimizer, 20, **shipped(name))
    assert not follows_metric(scheduler)
    before = rates(scheduler, optimizer, 20)
    other = make_optimizer()
    restored = by_name(other, 20, **shipped(name))
    restored.last_epoch = 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: stepped before the optimizer's first step
        restored.step()
    assert other.param_groups[0]["lr"] == before[7]


@pytest.mark.parametrize("name", ["linear", "reduce_lr_on_plateau", "greedy"])
def test_the_state_dict_restores_a_schedule(name: str) -> None:
    def feed(scheduler: Any, optimizer: torch.optim.Optimizer, num: int) -> list[float]:
        for _ in range(num):
            optimizer.step()
            scheduler.step(*([1.0] if follows_metric(scheduler) else []))
        return [group["lr"] for group in optimizer.param_groups]

    optimizer, other = make_optimizer(1e-4), make_optimizer(1e-4)
    scheduler, restored = (by_name(each, 20, **shipped(name)) for each in (optimizer, other))
    feed(scheduler, optimizer, 5)
    restored.load_state_dict(scheduler.state_dict())
    other.load_state_dict(optimizer.state_dict())
    assert feed(restored, other, 5) == feed(scheduler, optimizer, 5)


def test_each_group_keeps_its_share_of_the_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.5)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = by_name(optimizer, 4, name="linear", warmup_steps=None, warmup_ratio=None, options={})
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.75, 0.375]


def test_warm_up_by_ratio_is_rounded_up_without_rounding_noise() -> None:
    def count(num_training_steps: int, ratio: float) -> int:
        return count_warmup_steps(num_training_steps, name="linear", warmup_steps=None, warmup_ratio=ratio)

    assert math.ceil(30 * 0.1) == 3
    assert math.ceil(0.1 * 3 * 10) == 4  # why the product is rounded first
    assert [count(30, 0.1), count(31, 0.1), count(100, 0.07), count(1, 0.5)] == [3, 4, 7, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 10, "warmup_ratio": None}, "10 steps in all"),
        ({"name": "constant", "warmup_ratio": 0.1}, "constant_with_warmup"),
        ({"name": "greedy", "warmup_ratio": 0.1}, "no warm-up"),
        ({"name": "cosine", "options": {"num_cycle": 1}}, "did you mean 'num_cycles'"),
        ({"name": "linear", "options": {"power": 1}}, "expected none"),
        ({"name": "polynomial", "options": {"lr_end": 1.0}}, "smaller than initial lr"),
        ({"name": "cosine_with_min_lr", "options": {}}, "min_lr"),
        ({"name": "warmup_stable_decay", "options": {}}, "decay_ratio or num_decay_steps"),
        ({"name": "warmup_stable_decay", "options": {"num_decay_steps": 11}}, "left after the warm-up"),
        ({"name": "greedy", "warmup_ratio": None, "options": {"factor": 2.0}}, "Factor"),
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    options = {"name": "linear", "warmup_steps": None, "warmup_ratio": 0.1, "options": {}} | changes
    with pytest.raises(ConfigError, match=message):
        by_name(make_optimizer(), 10, **options)
