"""Going on with a run: which keys may change, what is refused and how, and what is written down."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright import __version__
from runwright.cli.main import main
from runwright.config.compose import compose_checked
from runwright.errors import CheckpointError, ConfigError
from runwright.runs.folder import CONFIG_FILE, RUN_FILE, create, read_config, read_run, update_status
from runwright.runs.resume import (
    CHANGEABLE,
    RESUMES_FILE,
    change_config,
    check_identity,
    comparable,
    config_hash,
    find_unfinished,
    resuming,
    why_finished,
)
from runwright.runs.states import LOCK_FILE, run_lock

Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    def make(*overrides: str) -> Path:
        composed = compose_checked([f"output_dir={tmp_path}", *overrides])
        return create(
            composed.config,
            overrides=composed.overrides,
            command=["test"],
            unresolved=composed.unresolved,
        )

    return make


def resume(folder: Path, config: dict[str, Any], status: str = "RUNNING") -> None:
    """Resume a run with a configuration; it begins, and ends at once."""
    with resuming(folder, config):
        update_status(folder, status)


def resumes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RESUMES_FILE).read_text().splitlines()]


def test_other_keys_are_refused_with_both_values(make_run: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run("optimizer.lr=1e-4")
    before = (folder / CONFIG_FILE).read_text()
    changes = ["optimizer.lr=3e-5", "seed=7", "launch.max_restarts=2"]
    assert main(["train", "--resume", str(folder), *changes]) == 2
    lines = {line.partition(":")[0]: line for line in capsys.readouterr().err.splitlines()}
    assert lines.keys() == {"seed", "seeds.data", "seeds.init", "seeds.dropout", "optimizer.lr"}
    assert "given 3e-05 to go on with a run that has 0.0001" in lines["optimizer.lr"]
    assert (folder / CONFIG_FILE).read_text() == before
    assert not (folder / RESUMES_FILE).exists()


@pytest.mark.slow
def test_every_key_that_may_not_change_is_refused_by_name(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("experiment=vader")
    before = (folder / CONFIG_FILE).read_text()
    num_refused = 0
    for key, value in comparable(read_config(folder / CONFIG_FILE)).items():
        if " " in key:
            continue
        if isinstance(value, bool):
            other = str(not value).lower()
        elif isinstance(value, int | float):
            other = str(value + 1 if isinstance(value, int) else value / 2 or 0.05)
        else:  # a choice, a list, nothing: many others are no values at all
            continue
        assert main(["train", "--resume", str(folder), f"{key}={other}"]) == 2, key
        shown = capsys.readouterr().err
        assert any(line.startswith(f"{key}: given") for line in shown.splitlines()), shown
        num_refused += "to go on with a run that has" in shown
    assert num_refused > 25
    assert (folder / CONFIG_FILE).read_text() == before
    assert not (folder / RESUMES_FILE).exists()


def test_another_choice_of_a_group_is_a_change_of_its_keys(make_run: Make) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\._target_: given 'runwright.optimizer.sgd'"):
        change_config(make_run(), ["optimizer=sgd"])


def test_lengths_intervals_tracker_and_launch_may_change_and_are_recorded(make_run: Make) -> None:
    folder = make_run("experiment=vader", "trainer.max_epochs=2")
    before = read_config(folder / CONFIG_FILE)
    changes = ["trainer.max_epochs=3", "tracker=console", "launch.num_processes=2"]
    resume(folder, change_config(folder, changes))
    after = read_config(folder / CONFIG_FILE)
    assert after["trainer"] == {**before["trainer"], "max_epochs": 3}
    assert after["tracker"]["_target_"] == "runwright.tracker.console.JournalTracker"
    assert after["launch"] == {**before["launch"], "num_processes": 2}
    assert comparable(after) == comparable(before)
    changed = resumes(folder)[0]["changed"]
    assert changed["trainer.max_epochs"] == [2, 3]
    assert changed["launch.num_processes"] == [1, 2]
    assert all(key.split(".")[0] in ("trainer", "tracker", "launch") for key in changed)


def test_no_secret_of_the_command_is_recorded(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run()
    monkeypatch.setattr("sys.argv", ["runwright", "tracker.password=hunter2"])
    resume(folder, read_config(folder / CONFIG_FILE))
    assert resumes(folder)[0]["command"] == ["runwright", "tracker.password=[redacted]"]


def test_the_words_of_the_first_start_may_be_repeated(make_run: Make) -> None:
    folder = make_run("experiment=vader", "optimizer.lr=1e-4")
    resume(folder, change_config(folder, ["experiment=vader", "optimizer.lr=1e-4"]))
    assert resumes(folder)[0]["changed"] == {}


def test_an_option_of_a_group_is_taken_as_its_file_has_it_unless_the_run_has_it(make_run: Make) -> None:
    folder = make_run("trainer=steps", "trainer.max_steps=7", "tracker=mlflow", "tracker.uri=sqlite:///a.db")
    own = read_config(folder / CONFIG_FILE)
    assert change_config(folder, ["trainer=steps", "tracker=mlflow"]) == own
    assert change_config(folder, ["trainer=default"])["trainer"]["evaluate_every_epochs"] == 1
    assert "uri" not in change_config(folder, ["tracker=console"])["tracker"]
    with pytest.raises(ConfigError, match="experiment=vader: given a change of the whole run"):
        change_config(folder, ["experiment=vader"])


def test_a_wrong_value_is_refused_before_anything_is_written(make_run: Make) -> None:
    folder = make_run()
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs"):
        change_config(folder, ["trainer.max_epochs=-1"])
    with pytest.raises(ConfigError, match="did you mean"):
        change_config(folder, ["trainer.max_epoch=2"])
    assert not (folder / RESUMES_FILE).exists()


def test_a_run_that_refuses_to_resume_is_left_as_it_was(make_run: Make) -> None:
    folder = make_run("trainer.max_epochs=2")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    changed = change_config(folder, ["trainer.max_epochs=3"])
    with pytest.raises(CheckpointError), resuming(folder, changed):
        raise CheckpointError("other data")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_run_that_is_at_work_is_refused(make_run: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run()
    with run_lock(folder):
        assert main(["train", "--resume", str(folder)]) == 1
    assert "is working on" in capsys.readouterr().err


def test_auto_finds_the_newest_unfinished_run_of_the_same_configuration(make_run: Make) -> None:
    assert find_unfinished(read_config(make_run("seed=1") / CONFIG_FILE) | {"seed": 2}) is None
    old, new = make_run("seed=3"), make_run("seed=3", "trainer.max_epochs=2")
    make_run("seed=4")
    wanted = read_config(old / CONFIG_FILE)
    assert find_unfinished(wanted) == new  # the length may change
    resume(new, wanted)
    assert read_config(new / CONFIG_FILE)["trainer"]["max_epochs"] == 1
    assert resumes(new)[0]["changed"] == {"trainer.max_epochs": [2, 1]}
    update_status(new, "FINISHED")
    assert find_unfinished(wanted) is None
    (new / LOCK_FILE).write_text('{"host": "h", "pid": 1}')  # killed before MLflow had its end, perhaps
    assert find_unfinished(wanted) == new
    (make_run("seed=3") / CONFIG_FILE).write_text("a: [")  # a damaged neighbour
    assert find_unfinished(wanted) == new


@pytest.mark.parametrize(
    ("end", "changes", "said"),
    [
        ({"step": 8, "steps": 8, "reason": "length"}, [], "finished at step 8 of 8, nothing is left to do"),
        ({"step": 4, "steps": 8, "reason": "early_stopping"}, [], "trainer.early_stopping_patience=N"),
        ({"step": 8, "steps": 8, "reason": "length"}, ["trainer.max_epochs=3"], ""),
    ],
)
def test_a_finished_run_says_so_and_what_continues_it(
    end: dict[str, Any], changes: list[str], said: str, make_run: Make
) -> None:
    folder = make_run("trainer.max_epochs=2")
    config = change_config(folder, changes)
    assert why_finished(folder, config) == ""
    update_status(folder, "FINISHED", end=end)
    reason = why_finished(folder, config)
    assert said in reason
    assert bool(said) == bool(reason)


EDITED = """# @package _global_
trainer: {max_epochs: 1, save_every_steps: "${trainer.log_every_steps}", save_every_epochs: null}
optimizer: {lr: 1.0e-4}
"""


def test_a_change_is_a_change_of_the_run_whatever_its_files_say_today(
    make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(EDITED)
    folder = make_run("experiment=mine", "tracker=console")
    file.write_text(EDITED.replace("max_epochs: 1", "max_epochs: 3").replace("1.0e-4", "2.0e-4"))
    for _ in ("edited", "gone"):
        own = read_config(folder / CONFIG_FILE)
        assert change_config(folder, ["experiment=mine", "optimizer.lr=0.0001", "optimizer=adamw"]) == own
        with pytest.raises(ConfigError, match=r"optimizer.lr: given 0.0002 to go on with a run that has"):
            change_config(folder, ["optimizer.lr=2e-4"])
        assert change_config(folder, ["trainer.max_epochs=3"])["trainer"]["max_epochs"] == 3
        changed = change_config(folder, ["trainer.log_every_steps=7"])["trainer"]
        assert changed["save_every_steps"] == 7  # which refers to it
        file.unlink(missing_ok=True)
    resume(folder, change_config(folder, ["tracker=mlflow", "trainer.early_stopping_patience=4"]))
    again = change_config(folder, ["tracker=console"])["tracker"]  # as the run began, and no longer was
    assert again["_target_"] == "runwright.tracker.console.JournalTracker"


def test_another_place_of_the_data_is_no_change_of_the_run(make_run: Make, tmp_path: Path) -> None:
    folder = make_run("dataset=csv", "dataset.source.files.train=a.csv", "task.text_column=text")
    before = read_config(folder / CONFIG_FILE)
    moved = change_config(folder, ["dataset.source.folder=data", "dataset.source.files.train=[b.csv]"])
    assert moved["dataset"]["source"]["files"]["train"] == ["b.csv"]
    assert config_hash(moved) == config_hash(before)
    assert config_hash({**before, "name": "other", "output_dir": "elsewhere"}) == config_hash(before)
    assert config_hash({**before, "seed": 1}) != config_hash(before)
    with pytest.raises(ConfigError, match=r"model\.name: given .* to go on with"):
        change_config(folder, ["model.name=other/model"])
    change_config(folder, [f"model.name={tmp_path}"])  # a folder: the weights are the checkpoint's


def test_a_copy_that_is_resumed_is_a_run_of_its_own(make_run: Make) -> None:
    folder = make_run()
    (folder / "mlflow.json").write_text("{}")
    copy = folder.with_name("copied")
    shutil.copytree(folder, copy)
    resume(copy, read_config(copy / CONFIG_FILE))
    resume(folder, read_config(folder / CONFIG_FILE))
    assert read_run(copy)["run_id"] != read_run(folder)["run_id"]
    assert not (copy / "mlflow.json").exists()
    assert (folder / "mlflow.json").exists()


def test_every_changeable_key_is_one_of_the_configuration(make_run: Make) -> None:
    config = read_config(make_run() / CONFIG_FILE)
    for key in CHANGEABLE:
        group, _, name = key.partition(".")
        assert group in config
        assert not name or name in config[group]


def test_what_is_no_longer_bit_identical_is_named() -> None:
    saved = {"config": "a", "num_processes": 1, "num_threads": 2, "runwright": "0.1.0"}
    assert check_identity(saved, saved) == []
    reasons = check_identity(
        saved, {"config": "a", "num_processes": 4, "num_threads": 2, "runwright": "0.2.0"}
    )
    assert [reason.partition(":")[0] for reason in reasons] == [
        "num_processes 1 → 4",
        "runwright 0.1.0 → 0.2.0",
    ]


def test_a_configuration_that_was_changed_by_hand_is_refused() -> None:
    with pytest.raises(CheckpointError, match="changed by hand"):
        check_identity({"config": "a"}, {"config": "b"})


@pytest.mark.parametrize("command", ["train --resume", "reproduce"])
def test_a_run_folder_of_another_format_is_refused_in_one_line(
    command: str, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("optimizer.lr=1e-4")
    record = json.loads((folder / RUN_FILE).read_text())
    del record["format"]  # as the first runs were
    (folder / RUN_FILE).write_text(json.dumps(record | {"status": "FINISHED"}))
    name, *flags = command.split()
    assert main([name, *flags[:1], str(folder), *flags[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder}: made by Runwright {__version__} with format None, expected format 2" in line


def test_a_run_of_another_format_is_not_gone_on_with(make_run: Make) -> None:
    folder = make_run()
    assert find_unfinished(read_config(folder / CONFIG_FILE)) == folder
    update_status(folder, "RUNNING", format=0)
    assert find_unfinished(read_config(folder / CONFIG_FILE)) is None
