"""A configuration runs nothing through Hydra: what is not on the list is refused, wherever it is written."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

from runwright.cli.main import main
from runwright.config.compose import all_mistakes, compose, compose_checked
from runwright.config.folders import find_conf_folders
from runwright.config.loading import ROOT_NAME, config_loader, register_plugins
from runwright.config.overrides import parse_overrides
from runwright.errors import ConfigError

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
EXPERIMENT = "experiment/x.yaml"
GLOBAL = "# @package _global_\n"
# Every key below is refused by its name, all of them in one go.
NODE = """
callbacks: {x: {_target_: joblib.load, filename: canary.pkl}}
verbose: [root]
output_subdir: ../../outside
run: {dir: /tmp/outside}
sweep: {dir: /tmp/outside, subdir: ../../outside}
job:
  name: ../../outside
  chdir: true
  id: '1'
  num: 1
  env_set: {RUNWRIGHT_ALLOW_CODE: '1', PYTHONPATH: .}
  env_copy: [HOME]
  config: {override_dirname: {kv_sep: /../}}
job_logging: {root: {handlers: [x]}, handlers: {x: {class: os.system}}}
hydra_logging: {handlers: {x: {(): os.system}}, formatters: {x: {(): 'ext://os.system'}}}
overrides: {hydra: [hydra.job.chdir=true], task: [seed=1]}
runtime: {output_dir: /tmp/outside, choices: {hydra/launcher: basic}}
help: {template: x}
launcher: {_target_: os.system}
sweeper: {_target_: subprocess.run}
"""
# Files, a key (or file, or override) that is refused, and what is composed where it is not the experiment.
FILES: dict[str, tuple[dict[str, str], str, str]] = {
    "its own package": ({EXPERIMENT: "# @package hydra.job\nenv_set: {A: b}\n"}, "hydra.job.env_set.A", ""),
    "a package in a defaults list": (
        {
            EXPERIMENT: f"{GLOBAL}defaults: [/optimizer@hydra.callbacks: y]\n",
            "optimizer/y.yaml": "x: {_target_: os.system}\n",
        },
        *("hydra.callbacks.x._target_", ""),
    ),
    "a launcher as a callback": (
        {EXPERIMENT: f"{GLOBAL}defaults: [/hydra/launcher/basic@hydra.callbacks.x]\n"},
        *("hydra.callbacks.x._target_", ""),
    ),
    "a global package in a group of Hydra's": (
        {
            EXPERIMENT: f"{GLOBAL}defaults: [override /hydra/env: y]\n",
            "hydra/env/y.yaml": f"{GLOBAL}hydra: {{job: {{env_set: {{A: b}}}}}}\n",
        },
        *("hydra.job.env_set.A", ""),
    ),
    "another group of Hydra's": (
        {EXPERIMENT: f"{GLOBAL}defaults: [override /hydra/job_logging: stdout]\n"},
        *("hydra.job_logging.formatters.simple.format", ""),
    ),
    "a launcher with a target": (
        {"hydra/launcher/y.yaml": "_target_: os.system\n"},
        *("hydra.launcher._target_", "hydra/launcher=y"),
    ),
    "a launcher in the place of Hydra's": (
        {"hydra/launcher/basic.yaml": "_target_: os.system\n"},
        *("hydra.launcher._target_", "seed=1"),
    ),
    "a launcher that sets what is not the launcher's": (
        {"hydra/launcher/y.yaml": f"{GLOBAL}other: 1\nhydra: {{launcher: {{_target_: {BASIC}}}}}\n"},
        *("other", "hydra/launcher=y"),
    ),
    "a launcher with a key that it does not take": (
        {"hydra/launcher/y.yaml": f"_target_: {BASIC}\nsetup: [touch canary]\n"},
        *("hydra.launcher.setup.0", "hydra/launcher=y"),
    ),
    "an interpolation": (
        {EXPERIMENT: f"{GLOBAL}name: ../../x\nhydra: {{job: {{name: '${{name}}'}}}}\n"},
        *("hydra.job.name", ""),
    ),
    "the whole node": ({EXPERIMENT: f"{GLOBAL}hydra: ${{references}}\n"}, "experiment=x", ""),
    "Hydra's own configuration": (
        {"hydra/config.yaml": "callbacks: {x: {_target_: os.system}}\n"},
        *("conf", "seed=1"),
    ),
    "the root file": (
        {"train.yaml": "hydra: {searchpath: ['pkg://antigravity']}\n"},
        *("hydra.searchpath.0", "seed=1"),
    ),
}
OVERRIDES = [
    *("hydra.job.env_set.A=b", "+hydra.job.env_set.A=b", "++hydra.job.env_set.A=b", "hydra.job.chdir=true"),
    *("hydra={job: {env_set: {A: b}}}", "++hydra={verbose: true}", "~hydra.job", "hydra.verbose=true"),
    *("hydra.searchpath=[pkg://antigravity]", "hydra.run.dir=x", "hydra.sweep.subdir=x", "hydra@x=y"),
    *("hydra/callbacks=x", "hydra/job_logging=stdout", "+hydra/env=x", "hydra/config=x", "~hydra/launcher"),
    *("+hydra/launcher@hydra.callbacks.x=joblib", "hydra/launcher=[basic]", "hydra/launcher=basic,joblib"),
    *("hydra.launcher={_target_: os.system}", "hydra.callbacks.x._target_=os.system", "hydra.sweep.dirr=x"),
    "hydra.output_subdir=x",
]


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    register_plugins()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def refused(folder: Path, *overrides: str) -> dict[str, str]:
    composed = compose(overrides, folder=folder, multirun=True, shadow=True)
    return {mistake.key: str(mistake) for mistake in all_mistakes(composed)}


def leaves(value: Any, key: str) -> set[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {leaf for name, inner in items for leaf in leaves(inner, f"{key}.{name}")} or {key}


# --- files --------------------------------------------------------------------------------------------


def test_every_setting_of_a_hostile_file_is_refused_by_name(tmp_path: Path) -> None:
    node = OmegaConf.to_container(OmegaConf.create(NODE))
    write(tmp_path, {EXPERIMENT: GLOBAL + OmegaConf.to_yaml({"hydra": node})})
    found = refused(tmp_path, "experiment=x")
    assert set(found) == leaves(node, "hydra")


@pytest.mark.parametrize("name", FILES)
def test_no_place_of_a_file_is_a_way_around(name: str, tmp_path: Path) -> None:
    files, key, override = FILES[name]
    write(tmp_path, files)
    assert key in refused(tmp_path, override or "experiment=x")
    assert "antigravity" not in sys.modules


def test_the_commands_refuse_what_an_experiment_says_of_hydra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {EXPERIMENT: f"{GLOBAL}hydra: {{job: {{env_set: {{A: b}}}}}}\n"})
    monkeypatch.chdir(tmp_path)
    for command in (["validate"], ["train"], ["train", "--cfg", "job"]):
        assert main([*command, "experiment=x"]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("hydra.job.env_set.A: given 'b', expected nothing")
        assert len(errors.splitlines()) == 1


@dataclass
class SlurmOptions:
    """Options of hydra-submitit-launcher 1.2.0 that differ in kind, and those of later versions."""

    _target_: str = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    submitit_folder: str = "${hydra.sweep.dir}/.submitit/%j"
    timeout_min: int = 60
    name: str = "${hydra.job.name}"
    stderr_to_stdout: bool = False
    partition: str | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    setup: list[str] | None = None
    python: str | None = None
    srun_args: list[str] | None = None


@pytest.fixture
def slurm() -> Iterator[None]:
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmOptions)
    yield
    del launchers["slurm.yaml"]


@pytest.mark.usefixtures("slurm")
def test_plain_options_of_a_launcher_pass_and_commands_come_from_the_command_line(tmp_path: Path) -> None:
    start = f"{GLOBAL}defaults: [override /hydra/launcher: slurm]\nhydra: {{launcher: "
    plain = "timeout_min: 9, name: my_job, partition: 'gpu,long', stderr_to_stdout: true"
    hostile = (
        "{setup: [touch canary], python: ./canary, srun_args: ['--x'], submitit_folder: /tmp/outside, "
        'additional_parameters: {wrap: touch canary}, partition: "a\\ntouch canary", name: "${oc.env:HOME}"}'
    )
    write(tmp_path, {EXPERIMENT: f"{start}{{{plain}}}}}\n", "experiment/y.yaml": f"{start}{hostile}}}\n"})
    assert refused(tmp_path, "experiment=x") == {}
    node = OmegaConf.to_container(OmegaConf.create(hostile), resolve=False)
    assert set(refused(tmp_path, "experiment=y")) == leaves(node, "hydra.launcher")
    typed = ["hydra.launcher.setup=[touch canary]", "++hydra.launcher.additional_parameters.wrap=x"]
    assert refused(tmp_path, "experiment=x", *typed, "hydra.launcher.python=python3.12") == {}
    # What is typed does not let in what a file says beside it.
    write(tmp_path, {EXPERIMENT: f"{start}{{additional_parameters: {{wrap: touch canary}}}}}}\n"})
    assert refused(tmp_path, "experiment=x", "+hydra.launcher.additional_parameters={a: b}")
    assert refused(tmp_path, "experiment=x", "hydra.launcher.additional_parameters.wrap=true")


def test_naming_and_plain_values_pass(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    node = (
        "{mode: MULTIRUN, job: {name: my-job.1}, sweeper: {max_batch_size: 2, params: {seed: '1,2', +a: b}}}"
    )
    own = "defaults: [joblib, _self_]\nn_jobs: 3\nmax_nbytes: 1M\n"
    write(tmp_path, {EXPERIMENT: f"{GLOBAL}hydra: {node}\n", "hydra/launcher/mine.yaml": own})
    typed = [
        "hydra/launcher=mine",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=/tmp/x",
        "hydra.job.name=other",
    ]
    composed = compose(["experiment=x", *typed], folder=tmp_path, multirun=True)
    assert all_mistakes(composed) == []
    assert composed.hydra["hydra.launcher.n_jobs"] == 2
    assert composed.hydra["hydra.launcher.max_nbytes"] == "1M"


# --- the command line ---------------------------------------------------------------------------------


def test_other_settings_of_hydra_are_refused_on_the_command_line_too(tmp_path: Path) -> None:
    parsed, mistakes = parse_overrides(OVERRIDES, find_conf_folders(tmp_path), multirun=True)
    assert [mistake.key for mistake in mistakes] == OVERRIDES
    assert not parsed.hydra


@pytest.mark.parametrize(
    "override",
    [
        *("+optimizer@hydra.callbacks=adamw", "hydra.launcher._target_=os.system"),
        *("hydra.launcher.x._target_=os.system", "hydra.launcher.setup=[canary]"),
    ],
)
def test_values_of_the_command_line_are_held_to_what_the_plugin_takes(override: str, tmp_path: Path) -> None:
    assert refused(tmp_path, override)


# --- what Hydra itself composes -----------------------------------------------------------------------


def test_a_job_has_the_settings_of_the_multirun_whatever_its_overrides_bring(tmp_path: Path) -> None:
    # As by a sweeper that draws what no check has seen.
    write(tmp_path, {EXPERIMENT: f"{GLOBAL}hydra: {{job: {{env_set: {{A: b}}}}}}\n"})
    register_plugins()
    setup_globals()  # resolvers, as Hydra's launchers do
    loader = config_loader(find_conf_folders(tmp_path), full=True)
    typed = ["hydra.job.name=mine", "seed=1,2"]
    master = loader.load_configuration(ROOT_NAME, typed, RunMode.MULTIRUN)
    drawn = ["experiment=x", "hydra.sweep.dir=/tmp/x", "++hydra={verbose: true}", "seed=1"]
    job = loader.load_sweep_config(master, drawn).hydra
    assert job.overrides.task == drawn
    assert master.hydra.overrides.task == ["seed=1,2"]
    job.overrides.task = ["seed=1,2"]
    time.sleep(1.1)  # ${now:%H-%M-%S} stays what it was
    assert job == master.hydra


@pytest.mark.parametrize("drawn", ["experiment=x", "hydra.sweep.dir=/tmp/x", "++hydra={verbose: true}"])
def test_a_job_that_would_change_a_setting_of_hydra_is_refused(drawn: str, tmp_path: Path) -> None:
    write(tmp_path, {EXPERIMENT: f"{GLOBAL}hydra: {{job: {{env_set: {{A: b}}}}}}\n"})
    with pytest.raises(ConfigError, match="hydra"):  # as `run_job` composes it
        compose_checked([drawn], folder=tmp_path)


def test_resolvers_of_plugins_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins" / "importing").mkdir(parents=True)
    (tmp_path / "hydra_plugins" / "importing" / "__init__.py").write_text(
        "from importlib import import_module\nfrom omegaconf import OmegaConf\n"
        "OmegaConf.register_new_resolver('pkg_version', lambda name: import_module(name).__name__)\n"
    )
    code = (
        "import sys\nfrom runwright.config.compose import compose\n"
        "overrides = ['hydra/launcher=basic', 'name=${pkg_version:antigravity}']\n"
        "found = compose(overrides, multirun=True).mistakes\n"
        "print([mistake.key for mistake in found], 'hydra_plugins.importing' in sys.modules)\n"
        "print('antigravity' in sys.modules)"
    )
    process = start("-c", code, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert process.stdout.splitlines() == ["['name'] True", "False"], process.stderr


# --- real commands ------------------------------------------------------------------------------------


class Canary:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("canary", "w"))


def start(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ("{callbacks: {x: {_target_: joblib.load, filename: x.pkl}}}", "hydra.callbacks.x._target_"),
        (
            "{job_logging: {root: {}, handlers: {x: {class: logging.FileHandler, filename: canary}}}}",
            "hydra.job_logging.handlers.x.class",
        ),
        ("{sweeper: {params: {++hydra.job.env_set.A: b, seed: '1,2'}}}", "++hydra.job.env_set.A=b"),
    ],
)
def test_a_multirun_refuses_before_anything_runs(node: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Canary()))
    write(tmp_path, {EXPERIMENT: f"{GLOBAL}hydra: {node}\n", "experiment/fine.yaml": f"{GLOBAL}seed: 1\n"})
    # Also where only the second job says it.
    axis = "experiment=fine,x" if "job_logging" in key else "experiment=x"
    process = start("-m", "runwright", "train", "-m", axis, folder=tmp_path)
    assert process.returncode == 2
    assert key in process.stderr
    assert "Traceback" not in process.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "x.pkl"]
