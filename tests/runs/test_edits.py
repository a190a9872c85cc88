"""Files of a run that are edited by hand: noticed by every command, and never a traceback."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runwright
from runwright.cli.main import main
from runwright.errors import ConfigError
from runwright.runs.folder import edited, read_run, resolve_run, update_status

Change = Callable[[str], str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run on 40 rows of reviews.csv."""
    folder = tmp_path_factory.mktemp("home")
    rows = [f"a {'good' if row % 2 else 'bad'} film {row},{'pos' if row % 2 else 'neg'}" for row in range(40)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    runwright.run(
        [
            *("dataset=csv", f"dataset.source.files.train={folder / 'reviews.csv'}", "task.max_length=16"),
            *("task=sequence_classification", "task.text_column=text", "task.label_column=label"),
            *("model=scratch", "tokenizer=train/wordpiece", "tokenizer.model.vocab_size=100"),
            "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
            *("trainer.max_epochs=1", "trainer.num_threads=1", "tracker=console"),
            f"output_dir={folder / 'outputs'}",
        ]
    )
    return folder


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be edited."""
    edited.clear()
    (folder,) = home.glob("outputs/*/*")
    return Path(shutil.copytree(folder, tmp_path / "outputs" / folder.parent.name / folder.name))


def replaced(*pairs: tuple[str, str]) -> Change:
    def change(text: str) -> str:
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text

    return change


def with_values(**values: Any) -> Change:
    return lambda text: json.dumps(json.loads(text) | values)


@pytest.mark.parametrize("words", ["predict {} text", "evaluate {}", "report {}", "push {} --to {}/pushed"])
def test_a_run_that_nobody_edited_is_used_without_a_word(
    words: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(words.format(run, run).split()) == 0
    assert "changed since" not in caplog.text


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("task.json", replaced(('"neg"', '"x"'), ('"pos"', '"neg"'), ('"x"', '"pos"'))),
        ("best/tokenizer.json", replaced(('"good"', '"x"'), ('"bad"', '"good"'), ('"x"', '"bad"'))),
        ("config.yaml", replaced(("max_length: 16", "max_length: 3"))),
        ("best/config.json", replaced(('"gelu"', '"relu"'))),
    ],
)
def test_an_edit_that_makes_other_predictions_is_named(
    name: str, change: Change, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / name).write_text(change((run / name).read_text()))
    assert main(["predict", str(run), "a good film"]) == 0
    assert f"{run}: changed since the run ended: {name}; results may differ" in caplog.text


DAMAGES: dict[str, tuple[str, Change, str]] = {
    "no task": ("config.yaml", replaced(("\ntask:", "\nother:")), "predict"),
    "no output_dir": ("config.yaml", replaced(("output_dir:", "other:")), "sync"),
    "numbers as classes": ("task.json", with_values(label_names=[1, 2]), "evaluate"),
    "classes that are a number": ("task.json", with_values(label_names=5), "report"),
    "three classes": ("best/config.json", with_values(id2label={0: "a", 1: "b", 2: "c"}), "predict"),
    "another size": ("best/config.json", with_values(hidden_size="big"), "predict"),
    "a cut vocabulary": ("best/tokenizer.json", lambda text: text[: len(text) // 2], "predict"),
    "no vocabulary": ("best/tokenizer.json", lambda _: "{}", "predict"),
    "a list of settings": ("best/tokenizer_config.json", lambda _: "[1]", "predict"),
    "another record of the data": ("data.json", lambda _: '{"fingerprints": [1]}', "evaluate"),
    "a list of metrics": ("summary.json", with_values(metrics=[1]), "compare"),
    "half the predictions": ("predictions/validation.jsonl", lambda text: text[: len(text) // 2], "compare"),
    "half the overrides": ("overrides.yaml", lambda _: "- [a", "train"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line_that_names_it(
    damage: str,
    run: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    name, change, command = DAMAGES[damage]
    (run / name).write_text(change((run / name).read_text()))
    (whole,) = home.glob("outputs/*/*")
    words = {
        "predict": ["predict", str(run), "text"],
        "compare": ["compare", str(run), str(whole)],
        "train": ["train", "--resume", str(run), "trainer.max_epochs=2"],
    }
    caplog.set_level(logging.WARNING)
    assert main(words.get(command, [command, str(run)])) in (1, 2, 4)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert Path(name).name in said + caplog.text


@pytest.mark.parametrize(
    "field",
    [
        {"run_id": None},
        {"overrides": 5},
        {"name": 3},
        {"end_time": "soon"},
        {"versions": [1]},
        {"files": "x"},
    ],
)
def test_a_record_of_other_types_is_refused_by_its_field(field: dict[str, object], run: Path) -> None:
    (name,) = field
    (run / "run.json").write_text(json.dumps(read_run(run) | field))
    with pytest.raises(ConfigError, match=rf"run\.json: given {name}: .*expected the record of a run"):
        read_run(run)


def test_a_run_that_is_resumed_is_judged_by_its_last_end(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "# a comment\n")
    resolve_run(run)
    assert "changed since the run ended: config.yaml" in caplog.text
    assert main(["train", "--resume", str(run), "trainer.max_epochs=2"]) == 0
    caplog.clear()
    resolve_run(run)
    update_status(run, "RUNNING", files=None)  # as while it trains
    (run / "task.json").write_text("{}")
    resolve_run(run)
    assert "changed since" not in caplog.text
