"""The sweeper `hydra/sweeper=runwright` for Hydra, on Optuna: runwright.sweep does the work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from runwright.errors import ConfigError
from runwright.store import write_json
from runwright.sweep.options import SweeperConf
from runwright.sweep.space import Space, read_space


class RunwrightSweeper(Sweeper):
    """The sweeper; its options are those of `SweeperConf`."""

    def __init__(self, **options: Any) -> None:
        self.options = SweeperConf(**{name: _plain(value) for name, value in options.items()})

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Run trials until the budget of the study is used up; the best of them."""
        from runwright.sweep import study as studies
        from runwright.sweep.driver import Driver

        options = self.options
        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        space = read_space(
            arguments, options.params, conditions=options.when, constraints=options.constraints
        )
        if not space.axes:
            raise ConfigError(
                "hydra.sweeper.params: given nothing to vary, expected key=choice(…) or interval(…)"
            )
        for name in ("n_trials", "n_jobs", "max_failures", "trial_minutes"):
            if (number := getattr(options, name)) is not None and number <= 0:
                raise ConfigError(f"hydra.sweeper.{name}: given {number}, expected more than 0")
        directions = [options.direction] if isinstance(options.direction, str) else list(options.direction)
        if len(directions) > 1 and options.pruner != "none":
            raise ConfigError("pruner: given one with several objectives, expected pruner=none")
        address = studies.Address(
            name=options.study_name or folder.name,
            storage=options.storage or str(folder.resolve() / studies.JOURNAL),
            **{name: getattr(options, name) for name in ("sampler", "sampler_options", "pruner")},
            **{name: getattr(options, name) for name in ("pruner_options", "seed")},
        )
        self.study = studies.open_study(address, directions=directions)
        studies.settle_identity(self.study, self._identity(space), allow_changes=options.allow_changes)
        grid = list(space.grid()) if options.sampler == "grid" else []
        budget = min(options.n_trials or len(grid), len(grid)) if grid else options.n_trials or 20
        studies.enqueue(self.study, [*map(space.parameters, options.first), *grid])
        write_json(folder / "sweep.json", {"name": address.name, "n_trials": budget})
        Driver(self, space=space, address=address, folder=folder, budget=budget).run()
        best = studies.best_trials(self.study)
        return {"best": [trial.number for trial in best], "values": [trial.values for trial in best]}

    def _identity(self, space: Space) -> dict[str, Any]:
        """What makes trials comparable: axes, fixed values, and the configuration below them."""
        config: Any = OmegaConf.to_container(self.config, resolve=False)
        leaves = dict(_leaves({key: value for key, value in config.items() if key != "hydra"}))
        ignored = tuple(self.options.not_compared)
        leaves = {k: v for k, v in leaves.items() if not f"{k}.".startswith(tuple(f"{i}." for i in ignored))}
        fixed = [text for text in space.fixed if not text.lstrip("+").startswith(ignored or "\0")]
        axes = {f"axis {axis.name}": repr(axis) for axis in space.axes}
        return {**leaves, **axes, "fixed": sorted(fixed), "direction": self.options.direction}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


ConfigStore.instance().store(group="hydra/sweeper", name="runwright", node=SweeperConf, provider="runwright")
