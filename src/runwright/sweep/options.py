"""Options of `hydra/sweeper=runwright`, as Hydra takes them."""

from dataclasses import dataclass, field
from typing import Any

SWEEPER = "hydra_plugins.runwright_sweeper.RunwrightSweeper"
STUDY_FILE = "sweep.json"  # in the sweep's folder: the study's name and the number of trials
STOP_FILE = "stop"  # in the sweep's folder: no further trial begins
RUN = "run"  # a fact about a trial: the folder of its run
SEED = "seed"  # the key of an application that further seeds are given by
MAX_REPEATED = 3  # the best trials that are repeated with further seeds


@dataclass
class SweeperConf:
    """Options of `hydra.sweeper` with `hydra/sweeper=runwright`; docs/sweeps.md says what each does."""

    _target_: str = SWEEPER
    _convert_: str = "all"
    study_name: str | None = None
    storage: str | None = None
    n_trials: int | None = 20
    n_jobs: int = 1
    seeds: int = 1
    devices: list[str] = field(default_factory=list)
    direction: Any = "minimize"
    objectives: Any = None
    sampler: str = "tpe"
    sampler_options: dict[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    pruner_options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = 0
    params: dict[str, Any] = field(default_factory=dict)
    when: dict[str, Any] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)
    first: list[dict[str, Any]] = field(default_factory=list)
    max_failures: int = 5
    trial_minutes: float | None = None
    allow_changes: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    preload: list[str] = field(default_factory=list)
