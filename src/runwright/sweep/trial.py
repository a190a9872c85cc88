"""The trial that this process works for: report values to its study, and ask whether it is pruned.

Any Hydra application may call `report` and `should_prune`; outside of a sweep they do nothing. Nothing heavy
is imported, and Optuna only inside a trial.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

VARIABLE = "RUNWRIGHT_TRIAL"  # JSON with the options of the sweeper and the trial's number
FIRST_VARIABLE = "RUNWRIGHT_FIRST"  # overrides of a trial like the others, for the server that warms up
RESUME_VARIABLE = "RUNWRIGHT_RESUME"  # the run that an earlier driver of this trial left unfinished
SLOTS_VARIABLE = "RUNWRIGHT_SLOTS"  # trials that this machine runs at a time: they share its cores
STUDY_VARIABLE = "RUNWRIGHT_STUDY"  # the same without a number, where a launcher numbers the jobs

later: list[Callable[[], object]] | None = None  # in a process that the driver forked, which answers first


def after_answer(finish: Callable[[], object]) -> None:
    """Call a function when the driver has this trial's result; at once in any other process.

    For what neither changes the result nor computes, as an upload: the next trial begins beside it.
    """
    if later is None:
        finish()
    else:
        later.append(finish)


def report(step: int, value: float) -> None:
    """Tell the study of this trial a value of its objective at a step; the first one of a step stands."""
    if trial := current():
        trial.report(value, step)


def should_prune() -> bool:
    """Return True if the pruner of the sweep ends this trial, going by the values reported so far."""
    trial = current()
    return trial is not None and trial.should_prune()


def should_prune_after(step: int, value: float) -> bool:
    """Report a value and ask the pruner; a study that cannot be reached is no reason to stop."""
    try:
        report(step, value)
        return should_prune()
    except Exception as error:  # noqa: BLE001 - of whatever storage
        logger.warning("step %d was not told to the sweep's study: %s", step, error)
        return False


def is_best(metrics: Mapping[str, float], name: str) -> bool:
    """Return True outside of a sweep, and if no finished trial has a better objective than these metrics.

    `name`: the metric that is the objective unless the sweep names another one. Of several none is the best.
    """
    try:
        study = (trial := current()) and trial.study
        values = [t.values for t in study.get_trials(deepcopy=False) if t.values] if study else []
        if study is None or not values or len(values[0]) > 1:
            return True
        objectives = json.loads(trial_text() or "{}").get("objectives") or [name]
        (objective,) = [objectives] if isinstance(objectives, str) else objectives
        value, others = metrics[objective], [value for (value,) in values]
        return value >= max(others) if study.direction.name == "MAXIMIZE" else value <= min(others)
    except Exception:  # noqa: BLE001 - of whatever storage; or the objective is none of the metrics
        return True


def in_trial() -> bool:
    """Return True in the processes of a trial."""
    return trial_text() is not None


def note(name: str, value: Any) -> None:
    """Keep a fact about this trial in its study, such as the folder of its run."""
    if trial := current():
        trial.set_user_attr(name, value)


def current() -> Any:
    """This process's trial as Optuna's `Trial`; None outside of a sweep."""
    text = trial_text()
    return _load(text) if text else None


def trial_text() -> str | None:
    """The trial of this process as text for the environment of another; None outside of a sweep."""
    if VARIABLE in os.environ or STUDY_VARIABLE not in os.environ:
        return os.environ.get(VARIABLE)
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return None
    return json.dumps({**json.loads(os.environ[STUDY_VARIABLE]), "number": HydraConfig.get().job.num})


@cache
def _load(text: str) -> Any:
    import optuna

    from runwright.sweep.options import SweeperConf
    from runwright.sweep.study import open_study, trial_of

    options = json.loads(text)
    number = options.pop("number")
    study = open_study(SweeperConf(**options))
    return optuna.trial.Trial(study, trial_of(study, number)._trial_id)
