"""The sweeper `hydra/sweeper=runwright` for Hydra, on Optuna: runwright.sweep does the work."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from runwright.errors import ConfigError
from runwright.store import flatten, write_json
from runwright.sweep.options import SEED, STUDY_FILE, SweeperConf
from runwright.sweep.space import Space, num_trials, read_space


class RunwrightSweeper(Sweeper):
    """The sweeper; its options are those of `SweeperConf`."""

    def __init__(self, **options: Any) -> None:
        self.options = SweeperConf(**options)

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
        assert self.hydra_context is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        space = read_space(
            arguments,
            options.params,
            conditions=options.when,
            constraints=options.constraints,
            loader=self.hydra_context.config_loader,
        )
        if not space.axes:
            raise ConfigError(
                "hydra.sweeper.params: given nothing to vary, expected key=choice(…) or interval(…)"
            )
        for name in ("n_trials", "n_jobs", "seeds", "max_failures", "trial_minutes"):
            if (number := getattr(options, name)) is not None and number <= 0:
                raise ConfigError(f"hydra.sweeper.{name}: given {number}, expected more than 0")
        ways = [options.direction] if isinstance(options.direction, str) else options.direction
        names = [options.objectives] if isinstance(options.objectives, str) else options.objectives or []
        if len(ways) != len(names or ways) or {*ways} - {"minimize", "maximize"}:
            expected = "minimize or maximize, for several objectives a list with one for each"
            raise ConfigError(f"hydra.sweeper.direction: given {options.direction}, expected {expected}")
        if len(ways) > 1 and options.pruner != "none":
            raise ConfigError("hydra.sweeper.pruner: given one with several objectives, expected none")
        keys = {key for axis in space.axes for key in axis.keys}
        if options.seeds > 1 and (SEED in keys or SEED not in self.config or options.objectives):
            problem = f"given {options.seeds}, expected 1 for several objectives"
            raise ConfigError(f"hydra.sweeper.seeds: {problem}, and where {SEED!r} is an axis or no key")
        options.study_name = options.study_name or folder.name
        options.storage = options.storage or str(folder.resolve() / studies.JOURNAL)
        self.study = studies.open_study(options)
        studies.settle_identity(self.study, self._identity(space), allow_changes=options.allow_changes)
        grid = space.grid() if options.sampler == "grid" else []
        budget = num_trials(grid, options.n_trials)
        for params in [*map(space.parameters, options.first), *grid]:  # each once for the life of the study
            self.study.enqueue_trial(params, skip_if_exists=True)
        facts = {"name": options.study_name, "n_trials": budget, "seeds": options.seeds}
        facts["objectives"] = dict(zip(names, ways, strict=False))
        write_json(folder / STUDY_FILE, facts)
        Driver(self, space=space, folder=folder, budget=budget).run()
        best = studies.best_trials(self.study)
        return {"best": [trial.number for trial in best], "values": [trial.values for trial in best]}

    def _identity(self, space: Space) -> dict[str, Any]:
        """Axes, fixed values and the configuration below them, which make trials comparable."""
        config: Any = OmegaConf.to_container(self.config, resolve=False)
        ignored = tuple(f"{key}." for key in ("hydra", *self.options.not_compared))
        leaves = {k: v for k, v in flatten(config).items() if not f"{k}.".startswith(ignored)}
        keys = {text: text.lstrip("+").partition("=")[0] for text in space.fixed}
        fixed = [text for text, key in keys.items() if not f"{key}.".startswith(ignored)]
        axes = {f"axis {axis.name}": str(axis) for axis in space.axes}
        more = {"fixed": sorted(fixed), "direction": self.options.direction}
        return leaves | axes | more | self.options.identity


ConfigStore.instance().store(group="hydra/sweeper", name="runwright", node=SweeperConf, provider="runwright")
