"""Learning-rate schedules: every name that transformers' get_scheduler knows, with warm-up by steps or share.

All but `reduce_lr_on_plateau` and `greedy` are LambdaLR: their rate is a pure function of the number of
updates, so that the step alone restores them. Those two follow a metric: `step(value)` after each
evaluation, and their whole state_dict is needed to restore them.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError, did_you_mean, listed
from runwright.types import NonNegativeInt, OpenFraction

if TYPE_CHECKING:
    from torch.optim import Optimizer

_WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
# Set by us, or following from what we set; verbose prints to stdout.
_NO_OPTIONS = {
    *("optimizer", "num_warmup_steps", "num_training_steps", "num_stable_steps", "last_epoch", "verbose"),
}


def by_name(
    optimizer: Optimizer,
    num_training_steps: int,
    *,
    name: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "reduce_lr_on_plateau",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
        "greedy",
    ],
    warmup_steps: NonNegativeInt | None,
    warmup_ratio: OpenFraction | None,
    options: dict[str, Any],
) -> Any:
    """The schedule over `num_training_steps` updates; `step()` it once after each update.

    See follows_metric for the two that are stepped otherwise. `options` are the schedule's own.
    """
    from transformers import get_scheduler

    num_warmup_steps = count_warmup_steps(
        num_training_steps, name=name, warmup_steps=warmup_steps, warmup_ratio=warmup_ratio
    )
    options = _checked_options(name, options, num_training_steps - num_warmup_steps, num_training_steps)
    try:
        return get_scheduler(
            name,
            optimizer,
            num_warmup_steps=num_warmup_steps,
            num_training_steps=num_training_steps,
            scheduler_specific_kwargs=options,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"scheduler {name!r} does not take these options: {error}") from error


def follows_metric(scheduler: Any) -> bool:
    """Return True if `step` is called with a metric after each evaluation, not after each update."""
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    return isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler)


def count_warmup_steps(
    num_training_steps: int, *, name: str, warmup_steps: int | None, warmup_ratio: float | None
) -> int:
    """Updates until the peak; ConfigError where there is no telling or the peak is never reached."""
    if name in _WITHOUT_WARMUP:
        if warmup_steps or warmup_ratio:
            instead = "; take scheduler=constant_with_warmup" if name == "constant" else ""
            raise ConfigError(f"scheduler {name!r} has no warm-up{instead}")
        return 0
    if warmup_ratio:
        # 0.1 * 30 is 3.0000000000000004: rounded before it is rounded up.
        return min(math.ceil(round(num_training_steps * warmup_ratio, 9)), num_training_steps - 1)
    if warmup_steps and warmup_steps >= num_training_steps:
        raise ConfigError(
            f"scheduler.warmup_steps={warmup_steps}, but the run has {num_training_steps} steps in all; "
            "lower it or give scheduler.warmup_ratio"
        )
    return warmup_steps or 0


def _checked_options(
    name: str, options: dict[str, Any], num_steps_after_warmup: int, num_training_steps: int
) -> dict[str, Any]:
    """The options as transformers takes them; ConfigError for one that the schedule does not have."""
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers import optimization
    from transformers.trainer_utils import SchedulerType

    classes: dict[str, Any] = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": optimization.GreedyLR}
    schedule = classes.get(name, optimization.TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)])
    names = [key for key in inspect.signature(schedule).parameters if key not in _NO_OPTIONS]
    if name == "warmup_stable_decay":
        names = ["decay_ratio", *names]
    for key in options:
        if key not in names:
            raise ConfigError(
                f"scheduler.options.{key}: {name!r} has no such option, expected {listed(names) or 'none'}; "
                f"{did_you_mean(key, names)}".rstrip("; ")
            )
    if name != "warmup_stable_decay":
        return options
    options = dict(options)
    if (options.get("decay_ratio") is None) == (options.get("num_decay_steps") is None):
        raise ConfigError("scheduler.options: give either decay_ratio or num_decay_steps")
    if (ratio := options.pop("decay_ratio", None)) is not None:
        steps = math.ceil(round(num_training_steps * ratio, 9))
        options["num_decay_steps"] = min(steps, num_steps_after_warmup)
    steps = options["num_decay_steps"]
    if not 0 <= steps <= num_steps_after_warmup:
        raise ConfigError(
            f"scheduler.options.num_decay_steps={steps}, but {num_steps_after_warmup} steps are left after "
            "the warm-up"
        )
    return options
