"""The trials of a study that run, as a table on a terminal that is redrawn while they do."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Group
from rich.table import Table
from rich.text import Text

from runwright.sweep import study as studies


def board(study: Study, running: Iterable[int], *, budget: int, slots: int, fixed: Collection[str]) -> Group:
    """Trials of one driver with their last value, and of the study how many ended, the best, the time left.

    `fixed`: overrides of all trials, which are not shown.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [t for t in trials if studies.is_counted(t) and t.state.is_finished()]
    states = Counter(t.state for t in ended)
    words = [f"{len(ended)} of {budget} trials ended"]
    if best := studies.best_trials(study):
        words.append(f"best {', '.join(f'{value:.6g}' for value in best[0].values)} (trial {best[0].number})")
    words += [f"{states[TrialState.PRUNED]} pruned", f"{states[TrialState.FAIL]} failed"]
    spans = [t.duration for t in ended if t.duration]
    if spans and len(ended) < budget:
        left = fmean(span.total_seconds() for span in spans) * (budget - len(ended)) / slots
        words.append(f"about {_span(timedelta(seconds=left))} left")
    table = Table("trial", "value", "time", "settings", box=None)
    for number in running:
        trial = trials[number]
        values: dict[int, Any] = trial.intermediate_values
        last = f"{values[max(values)]:.6g} at {max(values)}" if values else "-"
        texts = " ".join(text for text in trial.user_attrs[studies.OVERRIDES] if text not in fixed)
        begun = trial.datetime_start or datetime.now()
        table.add_row(str(number), last, _span(datetime.now() - begun), Text(texts))
    return Group(", ".join(words), table)


def _span(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))
