"""Composing gives what Hydra gives, with the user's own folder, and every shipped file is right."""

from __future__ import annotations

import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from runwright.config.compose import Composed, all_mistakes, compose, compose_checked
from runwright.config.folders import GLOBAL_GROUPS, find_conf_folders
from runwright.config.options import TARGET
from runwright.config.permissions import grant
from runwright.config.signature import Signature, find_file
from runwright.config.targets import GROUPS, check_options, check_target
from runwright.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
OPTIONS = [
    (group, option)
    for group in find_conf_folders(CONF.parent).groups()
    for option in find_conf_folders(CONF.parent).options(group)
    if "/" not in group
]
METRIC_OPTIONS = [option for group, option in OPTIONS if group == "metric"]


def choose(group: str, option: str) -> str:
    return f"metric=[{option}]" if group == "metric" else f"{group}={option}"


@cache  # four tests look at each option
def composed_of(group: str, option: str) -> Composed:
    """What choosing this option of the shipped folder gives."""
    return compose([choose(group, option)], folder=CONF.parent)


def node_of(group: str, option: str) -> dict[str, Any]:
    """The group's node where this option is chosen, with its interpolations."""
    return composed_of(group, option).unresolved[group]


def fill(unresolved: Any) -> list[str]:
    """Overrides that give a value to everything an option leaves to the user."""
    # A model from scratch has no name whose tokenizer could be taken.
    follows = unresolved["tokenizer"].get("name") == "${model.name}"
    found = ["tokenizer.name=given"] if follows and "name" not in unresolved["model"] else []

    def walk(value: Any, key: str) -> None:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for name, inner in items:
            walk(inner, f"{key}.{name}" if key else str(name))
        if value == "???":
            found.append(f"{key}=given")

    walk(unresolved, "")
    return found


# --- against Hydra itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=sgd", "optimizer.lr=1e-3", "seed=7"],
        ["metric=[mae,pearson]", "task.problem=regression", "trainer.best_metric=mae"],
        ["experiment=vader", "trainer.max_epochs=2"],
        ["experiment=vader", "model=lora", "+dataset.columns.text=body", "metric=[]"],
        [
            "model=scratch",
            "++model.config.hidden_size=64",
            "model.config.num_hidden_layers=1",
            "tokenizer.name=x",
        ],
        ["task.class_weights={a:1,b:2.5}", "task.label_names=[a,b]", "name='with space'"],
        ["debug=five_steps", "name=mine", "dataset.cleaning=[]", "launch.num_processes=2"],
    ],
    ids=" ".join,
)
def test_the_result_is_that_of_hydra(overrides: list[str], tmp_path: Path) -> None:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with warnings.catch_warnings(), initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        warnings.simplefilter("ignore")
        expected = hydra_compose("train", overrides=overrides)
    composed = compose(overrides, folder=tmp_path)
    assert composed.mistakes == ()
    assert composed.unresolved == OmegaConf.to_container(expected, resolve=False)
    expected.trainer.best_mode = composed.config["trainer"]["best_mode"]  # follows from the best metric
    assert composed.config == OmegaConf.to_container(expected, resolve=True)


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        ([], "min"),
        (["trainer.best_metric=accuracy"], "max"),
        (["metric=[perplexity]", "task=masked_language_modeling", "trainer.best_metric=perplexity"], "min"),
        (["experiment=vader"], "max"),
        (["+metric.mine._target_=json.dumps", "trainer.best_metric=mine"], None),  # to be given
    ],
)
def test_whether_more_is_better_follows_from_the_best_metric(overrides: list[str], mode: str | None) -> None:
    assert compose(overrides).config["trainer"]["best_mode"] == mode


# --- the shipped files --------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_shipped_option_composes_with_right_values(group: str, option: str) -> None:
    overrides = []
    if option.startswith("train/"):  # a pretrained model has a tokenizer of its own
        overrides.append("model=scratch")
    if option == "concat":
        overrides.append("+dataset@dataset.source.parts.one=vader")
    if (group, option) == ("trainer", "steps"):  # a missing value cannot stand in for the null of the default
        overrides.append("trainer.max_steps=9")
    if group == "generation":
        overrides += ["task=translation", "metric=[]", "trainer.best_metric=loss", "trainer.best_mode=min"]
    composed = composed_of(group, option)
    if overrides:
        composed = compose([*composed.overrides, *overrides], folder=CONF.parent)
    if given := fill(composed.unresolved):
        composed = compose([*composed.overrides, *given], folder=CONF.parent)
    mistakes = all_mistakes(composed)
    if group in ("metric", "task"):  # whether they suit one another is another question
        mistakes = [mistake for mistake in mistakes if not mistake.key.startswith("metric.")]
    assert [mistake for mistake in mistakes if mistake.given != "'given'"] == []


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] in GROUPS])
def test_every_shipped_file_lists_every_option_of_its_target(group: str, option: str) -> None:
    node = node_of(group, option)
    nodes = nested_nodes(node[option] if group == "metric" and option in node else node, group)
    assert nodes, "no node with a target"
    for key, found in nodes:
        signature = check_target(found[TARGET], key=key, group=group)
        assert isinstance(signature, Signature), signature
        shared = {*GROUPS[group].shared}  # every task lists them, a metric those that it needs
        options = set(signature.options) | (shared if key == "task" else set())
        assert found.keys() - {TARGET} - (shared if group == "metric" else set()) == options, key


def nested_nodes(value: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    nodes = [(key, value)] if isinstance(value, dict) and TARGET in value else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return nodes + [node for name, inner in items for node in nested_nodes(inner, f"{key}.{name}")]


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] in GROUPS])
def test_defaults_live_in_yaml_only(group: str, option: str) -> None:
    for key, found in nested_nodes(node_of(group, option), group):
        signature = check_target(found[TARGET], key=key, group=group)
        assert isinstance(signature, Signature)
        assert [name for name, option in signature.options.items() if not option.required] == []
        assert not signature.accepts_any_option


@pytest.mark.parametrize("option", find_conf_folders(CONF.parent).options("experiment"))
def test_every_shipped_experiment_is_right(option: str, tmp_path: Path) -> None:
    composed = compose([f"experiment={option}"], folder=tmp_path)
    assert [m for m in all_mistakes(composed) if not m.given.startswith("???")] == []
    assert composed.config["name"] != "default"  # its runs have a folder of their own


@pytest.mark.parametrize("debug", find_conf_folders(CONF.parent).options("debug"))
@pytest.mark.parametrize("experiment", ["vader", "squad", "wikitext2_mlm", "stsb_bi", "wnut17"])
def test_debug_modes_go_with_every_task(experiment: str, debug: str, tmp_path: Path) -> None:
    composed = compose([f"experiment={experiment}", f"debug={debug}"], folder=tmp_path)
    assert [m for m in all_mistakes(composed) if not m.given.startswith("???")] == []
    assert composed.config["name"] == "debug"


def test_a_name_of_ones_own_stays_as_it_is_in_a_debug_mode(tmp_path: Path) -> None:
    composed = compose(["experiment=vader", "debug=five_steps", "name=mine"], folder=tmp_path)
    assert composed.config["name"] == "mine"


@pytest.mark.parametrize("file", FILES)
def test_numbers_in_shipped_files_are_numbers_to_every_yaml_reader(file: str) -> None:
    # YAML 1.1 reads 1e-5 as text, OmegaConf as a number: 1.0e-5 is a number to both.
    text = (CONF / file).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == OmegaConf.to_container(OmegaConf.create(text), resolve=False)


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.startswith(tuple(f"{g}/" for g in GLOBAL_GROUPS))]
)
def test_files_of_global_groups_say_their_package(file: str) -> None:
    assert (CONF / file).read_text(encoding="utf-8").startswith("# @package _global_\n")


# --- the user's own folder ----------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_file_of_ones_own_is_an_option(tmp_path: Path) -> None:
    write(tmp_path, "optimizer/mine.yaml", "defaults: [adamw, _self_]\nlr: 0.25\n")
    write(
        tmp_path,
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - override /optimizer: mine\nname: m\n",
    )
    composed = compose_checked(["experiment=mine"], folder=tmp_path)
    assert composed.config["optimizer"]["lr"] == 0.25
    assert composed.choices["optimizer"] == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hydra: {sweeper: {n_trails: 3}}", r"hydra.sweeper.n_trails: .*one of study_name.*'n_trials'\?"),
        ("hydra: {sweper: {n_trials: 3}}", r"hydra.sweper: .*did you mean 'sweeper'\?"),
        ("", r"Could not override 'datset'. No match in the defaults list; did you mean 'dataset'\?"),
    ],
)
def test_a_wrong_name_in_a_file_gets_the_nearest_one(tmp_path: Path, text: str, told: str) -> None:
    wrong = "/hydra/sweeper: runwright" if text else "/datset: csv"
    write(tmp_path, "sweep/wrong.yaml", f"# @package _global_\ndefaults:\n  - override {wrong}\n{text}\n")
    with pytest.raises(ConfigError, match=rf"^sweep/wrong.yaml.*{told}"):
        compose_checked(["sweep=wrong"], folder=tmp_path)


def test_class_names_of_a_file_are_text_as_they_are_written(tmp_path: Path) -> None:
    text = """# @package _global_
dataset: {cleaning: [{_target_: a.KeepValues, column: label, values: [NO, 007, 1:30]}]}
task:
  label_names: [no, yes, on, y, 0x1F, 2020-01-01]
  class_weights: {no: 1, yes: 1e0, on: 2.5, null: 3}
trainer: {deterministic: true, max_steps: 1_000}
optimizer: {lr: 1e-3, eps: 1.e-8}
"""
    write(tmp_path, "experiment/mine.yaml", text)
    config = compose(["experiment=mine"], folder=tmp_path).config
    assert config["dataset"]["cleaning"][0]["values"] == ["NO", "007", "1:30"]
    assert config["task"]["label_names"] == ["no", "yes", "on", "y", "0x1F", "2020-01-01"]
    assert config["task"]["class_weights"] == {"no": 1, "yes": 1.0, "on": 2.5, "null": 3}
    assert config["trainer"]["deterministic"] is True
    assert config["trainer"]["max_steps"] == 1000
    assert (config["optimizer"]["lr"], config["optimizer"]["eps"]) == (1e-3, 1e-8)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("[1e3, b]", "0: given 1000.0, expected text; for text put it in quotes, as it is written"),
        ("[a, true]", "1: given true, expected text; .* as it is written: \"'true'\""),
        ("[a, null]", "1: given null, expected text"),
    ],
)
def test_a_class_name_that_is_no_text_is_told_to_be_quoted(names: str, line: str, tmp_path: Path) -> None:
    write(tmp_path, "experiment/mine.yaml", f"# @package _global_\ntask: {{label_names: {names}}}\n")
    for overrides in (["experiment=mine"], [f"task.label_names={names}"]):
        with pytest.raises(ConfigError, match=rf"task\.label_names\.{line}"):
            compose_checked(overrides, folder=tmp_path)


def test_yes_for_a_switch_is_told_to_be_true(tmp_path: Path) -> None:
    write(tmp_path, "experiment/mine.yaml", "# @package _global_\ntrainer: {deterministic: yes}\n")
    with pytest.raises(ConfigError, match="given 'yes', expected true or false; write true"):
        compose_checked(["experiment=mine"], folder=tmp_path)


def test_an_experiment_without_its_package_line_is_told_so(tmp_path: Path) -> None:
    write(tmp_path, "experiment/mine.yaml", "defaults:\n  - override /optimizer: sgd\nname: m\n")
    with pytest.raises(ConfigError, match="first line must be '# @package _global_'"):
        compose_checked(["experiment=mine"], folder=tmp_path)


def test_shadowing_is_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, "optimizer/adamw.yaml", "_target_: runwright.optimizer.adamw\n")
    with pytest.raises(ConfigError) as error:
        compose_checked([], folder=tmp_path)
    assert str(tmp_path / "conf/optimizer/adamw.yaml") in str(error.value)
    assert str(CONF / "optimizer/adamw.yaml") in str(error.value)


def test_allowed_to_shadow_the_own_file_wins(tmp_path: Path) -> None:
    text = (CONF / "optimizer/adamw.yaml").read_text(encoding="utf-8")
    write(tmp_path, "optimizer/adamw.yaml", text.replace("weight_decay: 0.01", "weight_decay: 0.125"))
    grant(shadow=True, folder=tmp_path)
    composed = compose_checked([], folder=tmp_path)
    grant()
    assert composed.config["optimizer"]["weight_decay"] == 0.125


def test_the_shipped_folder_is_not_its_own_shadow() -> None:
    assert find_conf_folders(CONF.parent).project is None


def test_hydra_settings_in_a_file_take_the_full_way(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /hydra/launcher: basic\nname: m\n"
    write(tmp_path, "experiment/mine.yaml", text)
    composed = compose_checked(["experiment=mine"], folder=tmp_path)
    assert composed.config["name"] == "m"
    assert "hydra" not in composed.config


# --- what a record says -------------------------------------------------------------------------------


def test_the_record_keeps_interpolations_choices_and_overrides(tmp_path: Path) -> None:
    composed = compose(["seed=5", "metric=[accuracy]"], folder=tmp_path)
    assert composed.unresolved["seeds"]["data"] == "${seed}"
    assert composed.config["seeds"] == {"data": 5, "init": 5, "dropout": 5}
    assert composed.overrides == ("seed=5", "metric=[accuracy]")
    assert list(composed.config["metric"]) == ["accuracy"]


def test_options_that_nothing_checks_do_not_exist() -> None:
    # A shipped annotation that the reader does not understand would be left unchecked.
    free = {"Any"}
    for group, option in OPTIONS:
        if group not in GROUPS:
            continue
        for key, node in nested_nodes(node_of(group, option), group):
            signature = check_target(node[TARGET], key=key, group=group)
            assert isinstance(signature, Signature)
            unchecked = {name for name, found in signature.options.items() if found.type.kind == "any"}
            file = find_file(signature.target.rpartition(".")[0])
            assert file is not None
            source = file.read_text(encoding="utf-8")
            assert all(f"{name}: {kind}" in source for name in unchecked for kind in free), (key, unchecked)
            assert check_options({}, signature, key=key) != [] or not signature.options


def config_of(overrides: list[str], folder: Path, **files: str) -> Any:
    (folder / "conf" / "experiment").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "conf" / "experiment" / f"{name}.yaml").write_text(text, encoding="utf-8")
    composed = compose(overrides, folder=folder)
    return composed.config if not (mistakes := all_mistakes(composed)) else [str(m) for m in mistakes]


@pytest.mark.parametrize(
    ("override", "text", "hint"),
    [
        ("optimizer.lr=${oc.env:LIKE_LR}", "1e-4", "${oc.decode:${oc.env:LIKE_LR}} reads its text"),
        ("trainer.deterministic=${oc.env:LIKE_LR}", "true", "${oc.decode:${oc.env:LIKE_LR}} reads its text"),
        ("name=1e3", "", "given 1e3, expected text; for text put it in quotes: 'name=\"1e3\"'"),
        ("name=true", "", "put it in quotes: 'name=\"true\"'"),
        ("++task.text_column=1", "", "put it in quotes: 'task.text_column=\"1\"'"),
    ],
)
def test_values_that_are_read_as_another_type_are_refused_with_the_way_to_write_them(
    override: str, text: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKE_LR", text)
    (mistake,) = config_of([override, "task=sequence_classification"], tmp_path)
    assert hint in mistake


HEAD = "# @package _global_\n"
BOMB = "".join(
    f"{name}: &{name} [{', '.join([f'*{of}'] * 9)}]\n" for of, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("defaults: [own]\n", ["conf/experiment/own.yaml: given a defaults list that leads back to it"]),
        ("defaults: [other]\n", ["conf/experiment/other.yaml: given a defaults list that leads back to it"]),
        (f"x: {'{a: ' * 900}1{'}' * 900}\n", ["conf/experiment/own.yaml: given a larger document"]),
        (f"a: &a [x, x, x]\n{BOMB}", ["at most 200,000 characters and 20,000 values"]),
        ("x: &x {y: *x}\n", ["a larger document, or a deeper one"]),
        ("metric: [mae]\n", ["choose under defaults: - override /metric: [name, …]"]),
        ("defaults: [dataset: csv]\n", ["write: - override /dataset: csv"]),
        ("trainer: [{max_steps: 5}]\n", ["trainer: given a list in experiment/own.yaml, expected a mapping"]),
        ("dataset: {source: [a.csv]}\n", ["dataset.source: given a list", "expected a mapping of names"]),
        ("", ["conf/experiment/own.yaml: given no values"]),
        ("hello world\n", ["given 'hello world', expected a mapping"]),
        ("trainer:\n\tmax_steps: 5\n", ["own.yaml, line 3", "broken YAML"]),
        ("name: a\n---\nname: b\n", ["own.yaml, line 3", "another document"]),
        ("name: x\x00\n", ["conf/experiment/own.yaml: given a file that is not UTF-8"]),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(text: str, expected: list[str], tmp_path: Path) -> None:
    began = time.process_time()
    files = {"own": HEAD + text, "other": f"{HEAD}defaults: [own]\n"}
    (line,) = config_of(["experiment=own"], tmp_path, **files)
    assert all(words in line for words in expected), line
    assert time.process_time() - began < 3


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    text = f"{HEAD}name: windows\n".replace("\n", "\r\n")
    assert config_of(["experiment=own"], tmp_path, own="\ufeff" + text)["name"] == "windows"


def test_a_folder_with_the_name_of_a_file_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment" / "own.yaml").mkdir(parents=True)
    (line,) = config_of(["experiment=own"], tmp_path)
    assert line.startswith("experiment=own: given 'own' for group 'experiment'")
