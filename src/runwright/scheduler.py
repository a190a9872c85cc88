"""Learning-rate schedules by transformers' names, with warm-up by steps or share.

All are LambdaLR: the rate is a pure function of the number of updates, so that the step alone restores it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError, listed
from runwright.types import NonNegativeInt, OpenFraction

if TYPE_CHECKING:
    from torch.optim import Optimizer


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
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
    ],
    warmup_steps: NonNegativeInt | None,
    warmup_ratio: OpenFraction | None,
    options: dict[str, Any],
) -> Any:
    """The schedule over `num_training_steps` updates; `step()` it once after each update.

    `options` are the schedule's own. Raises ConfigError where the peak is never reached.
    """
    from transformers import get_scheduler

    num_warmup_steps = warmup_steps or 0
    if warmup_ratio:
        num_warmup_steps = min(_share(num_training_steps, warmup_ratio), num_training_steps - 1)
    if num_warmup_steps and name == "constant":
        raise ConfigError("scheduler 'constant' has no warm-up; take scheduler=constant_with_warmup")
    if num_warmup_steps >= num_training_steps:
        raise ConfigError(
            f"scheduler.warmup_steps={warmup_steps}, but the run has {num_training_steps} steps in all; "
            "lower it or give scheduler.warmup_ratio"
        )
    if options and name.startswith("constant"):  # which transformers would pass over
        raise ConfigError(f"scheduler.options: given {listed(options)}, but {name!r} has none")
    try:
        if name == "warmup_stable_decay":
            options = dict(options)
            ratio, key = options.pop("decay_ratio"), "scheduler.options.decay_ratio"
            if not 0 <= ratio <= 1:
                raise ConfigError(f"{key}: given {ratio}, expected a share from 0 to 1")
            num_decay_steps = _share(num_training_steps, ratio)
            options["num_decay_steps"] = min(num_decay_steps, num_training_steps - num_warmup_steps)
        return get_scheduler(
            name,
            optimizer,
            num_warmup_steps=num_warmup_steps,
            num_training_steps=num_training_steps,
            scheduler_specific_kwargs=options,
        )
    except KeyError as error:
        raise ConfigError(f"scheduler.options: given no {error}, which {name!r} needs") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"scheduler {name!r} does not take these options: {error}") from error


def _share(num_steps: int, ratio: float) -> int:
    # 0.1 * 30 is 3.0000000000000004: rounded before it is rounded up.
    return math.ceil(round(num_steps * ratio, 9))
