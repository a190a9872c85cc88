"""A wrong config costs nothing: every mistake is reported by key, at once, before anything is loaded."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError

from runwright.config.compose import all_mistakes, compose
from runwright.config.folders import find_conf_folders
from runwright.config.loading import explain
from runwright.errors import ConfigError, Mistake, report

TABLE = Path(__file__).with_name("wrong_configs.txt")
PROBE = """
import sys
from runwright.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "transformers", "datasets", "mlflow", "numpy"} & set(sys.modules)
print("loaded:", sorted(heavy))
sys.exit(code)
"""


def cases() -> list[tuple[str, list[str]]]:
    lines = [
        line for line in TABLE.read_text(encoding="utf-8").splitlines() if " -> " in line and line[0] != "#"
    ]
    pairs = [line.split(" -> ", 1) for line in lines]
    return [(overrides, fragments.split(" | ")) for overrides, fragments in pairs]


def mistakes_of(overrides: list[str], *, folder: Path) -> list[Mistake]:
    return all_mistakes(compose(overrides, folder=folder))


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_table_has_two_hundred_cases() -> None:
    assert len(cases()) >= 200
    assert len({overrides for overrides, _ in cases()}) == len(cases())


@pytest.mark.parametrize(("overrides", "fragments"), cases(), ids=[case for case, _ in cases()])
def test_a_wrong_command_line_is_reported_by_key(
    overrides: str, fragments: list[str], tmp_path: Path
) -> None:
    lines = [str(mistake) for mistake in mistakes_of(shlex.split(overrides), folder=tmp_path)]
    assert lines, "nothing was reported"
    assert any(line.startswith(fragments[0]) and all(f in line for f in fragments) for line in lines), lines
    shown = report(ConfigError(*lines)).splitlines()
    assert len(shown) <= 10
    assert all(len(line) <= 400 for line in shown)


@pytest.mark.parametrize(
    ("wrong", "others"),
    [
        ("task=causal_language_modelling", "metric=perplexity trainer.best_metric=perplexity"),
        ("generation=sampel", "task=translation metric=bleu generation.temperature=2"),
        ("metric=[acuracy]", "trainer.best_metric=acuracy metric.acuracy.interval=false"),
    ],
)
def test_an_unknown_option_hides_what_only_follows_from_it(wrong: str, others: str, tmp_path: Path) -> None:
    overrides = [wrong, *others.split(), "dataset.holdout.test=-1"]  # the last one does not follow
    keys = [mistake.key for mistake in mistakes_of(overrides, folder=tmp_path)]
    assert keys == [wrong, "dataset.holdout.test"]


WRONG_FILES = {
    "a tab in YAML": (
        {"model/own.yaml": "_target_: x\n\tname: y\n"},
        "model=own",
        ["conf/model/own.yaml, line 2"],
    ),
    "an open bracket": (
        {"model/own.yaml": "a: [1, 2\nb: 3\n"},
        "model=own",
        ["conf/model/own.yaml", "broken YAML"],
    ),
    "a key twice": (
        {"model/own.yaml": "a: 1\na: 2\n"},
        "model=own",
        ["conf/model/own.yaml", "duplicate key"],
    ),
    "a bad indent": ({"model/own.yaml": "a:\n  b: 1\n c: 2\n"}, "model=own", ["conf/model/own.yaml, line 3"]),
    "not UTF-8": ({}, "model=own", ["not UTF-8"]),
    "a list": (
        {"model/own.yaml": "- 1\n- 2\n"},
        "model=own",
        ["conf/model/own.yaml: given [1, 2]", "a mapping"],
    ),
    "no target": ({"model/own.yaml": "name: x\n"}, "model=own", ["model: given a mapping without _target_"]),
    "a foreign target": (
        {"model/own.yaml": "_target_: os.system\ncommand: ls\n"},
        "model=own",
        ["model._target_: given 'os.system'"],
    ),
    "an unknown default": (
        {"experiment/own.yaml": "# @package _global_\ndefaults:\n  - override /model: pretraind\n"},
        "experiment=own",
        ["conf/experiment/own.yaml, line 3", "did you mean 'pretrained'?"],
    ),
    "an unknown default group": (
        {"experiment/own.yaml": "# @package _global_\ndefaults:\n  - override /modell: pretrained\n"},
        "experiment=own",
        ["experiment/own.yaml", "modell"],
    ),
    "an unknown key in a file": (
        {"experiment/own.yaml": "# @package _global_\ntrainer:\n  max_epoch: 3\n"},
        "experiment=own",
        ["trainer.max_epoch: given an unknown key", "did you mean 'max_epochs'?"],
    ),
    "a forgotten package line": (
        {"experiment/own.yaml": "trainer:\n  max_epochs: 3\n"},
        "experiment=own",
        ["experiment: given an unknown key", "# @package _global_"],
    ),
    "a metric without its package line": (
        {"metric/own.yaml": "_target_: runwright.metric.classification.accuracy\n"},
        "metric=[own]",
        ["metric: given", "# @package metric."],
    ),
    "a bad interpolation": (
        {"experiment/own.yaml": "# @package _global_\nname: ${model.nam}\n"},
        "experiment=own",
        ["name: given '${model.nam}'", "did you mean 'model.name'?"],
    ),
    "a value still missing": (
        {"model/own.yaml": "_target_: runwright.model.pretrained.load\nname: ???\n"},
        "model=own",
        ["model.name: given ???", "model.name=<value>"],
    ),
    "a string for a number": (
        {"experiment/own.yaml": "# @package _global_\noptimizer:\n  lr: '1e-4'\n"},
        "experiment=own",
        ["optimizer.lr: given '1e-4'", "without quotes"],
    ),
    "NaN": (
        {"experiment/own.yaml": "# @package _global_\noptimizer:\n  lr: .nan\n"},
        "experiment=own",
        ["optimizer.lr: given nan"],
    ),
    "a shadowed file": (
        {"optimizer/adamw.yaml": "_target_: runwright.optimizer.adamw\n"},
        "seed=1",
        ["conf/optimizer/adamw.yaml: given a file with the name of a shipped one", "--allow-shadow"],
    ),
    "the wrong ending": (
        {"model/own.yml": "_target_: x.y\n"},
        "model=own",
        ["model=own: given 'own'", "one of the options"],
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_reported_with_its_place(name: str, tmp_path: Path) -> None:
    files, overrides, fragments = WRONG_FILES[name]
    folder = write(tmp_path, files)
    if name == "not UTF-8":
        (folder / "conf" / "model").mkdir(parents=True)
        (folder / "conf" / "model" / "own.yaml").write_bytes(b"name: caf\xe9\n")
    lines = [str(mistake) for mistake in mistakes_of(overrides.split(), folder=folder)]
    assert any(all(fragment in line for fragment in fragments) for line in lines), lines


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    wrong = ["optimizer.lrr=3", "optimizer.lr=abc", "task.problem=x", "model=bert", "seed=-1", "[", "lr=3"]
    keys = {mistake.key for mistake in mistakes_of(wrong, folder=tmp_path)}
    assert keys == {"optimizer.lrr=3", "optimizer.lr", "task.problem", "model=bert", "seed", "[", "lr=3"}


def test_one_mistake_that_others_repeat_is_reported_once(tmp_path: Path) -> None:
    assert [mistake.key for mistake in mistakes_of(["seed=-1"], folder=tmp_path)] == ["seed"]


def test_beyond_nine_mistakes_there_is_a_count(tmp_path: Path) -> None:
    lines = [str(mistake) for mistake in mistakes_of([f"key_{n}=1" for n in range(14)], folder=tmp_path)]
    shown = report(ConfigError(*lines)).splitlines()
    assert len(lines) == 14
    assert shown[:9] == lines[:9]
    assert shown[9:] == ["… and 5 more mistakes (14 in all)"]


WRONG_LINES = {
    "three": ["optimizer.lrr=1", "optimizer.lr=abc", "model=bert"],
    "thirty": [f"key_{n}=1" for n in range(30)],
    "target": ["model._target_=os.system"],
    "syntax": ["optimizer.lr=[1,"],
    "experiment": ["experiment=nothing"],
}


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        *(pytest.param("train", overrides, id=f"train-{name}") for name, overrides in WRONG_LINES.items()),
        pytest.param("validate", WRONG_LINES["three"], id="validate-three"),
    ],
)
def test_a_process_says_so_and_exits_with_two(
    command: str, overrides: list[str], run_timed: Any, tmp_path: Path
) -> None:
    process, seconds = run_timed([sys.executable, "-c", PROBE, command, *overrides], cwd=tmp_path)
    assert process.returncode == 2
    assert process.stdout.strip() == "loaded: []"
    assert 1 <= len(process.stderr.splitlines()) <= 10
    assert "Traceback" not in process.stderr
    assert seconds < 1.0
    assert list(tmp_path.iterdir()) == []  # no output folder either


def test_broken_yaml_shows_no_traceback(run_timed: Any, tmp_path: Path) -> None:
    folder = write(tmp_path, {"model/own.yaml": "a: [1\n"})
    process, _ = run_timed([sys.executable, "-c", PROBE, "validate", "model=own"], cwd=folder)
    assert process.returncode == 2
    assert "conf/model/own.yaml" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_right_configuration_costs_no_output(tmp_path: Path) -> None:
    started = time.perf_counter()
    assert mistakes_of([], folder=tmp_path) == []
    assert time.perf_counter() - started < 1.0


def test_a_key_of_an_empty_mapping_is_said_to_need_a_plus(tmp_path: Path) -> None:
    config = OmegaConf.create({"hydra": {"sweeper": {"pruner_options": {}}}}, flags={"struct": True})
    with pytest.raises(ConfigKeyError) as error:
        OmegaConf.merge(config, {"hydra": {"sweeper": {"pruner_options": {"lower": 1}}}})
    line = str(explain(error.value, find_conf_folders(tmp_path)))
    assert line.endswith(
        "given an unknown key, expected +hydra.sweeper.pruner_options.lower=…, which adds it"
    )
