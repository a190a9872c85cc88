"""From the command to the first step there is always something to read, and nothing is imported in vain."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SILENCE_SECONDS = 5.0
SMALL = [
    *("dataset=csv", "dataset.source.files.train=reviews.csv", "dataset.holdout.validation=0"),
    *("model=scratch", "tokenizer=train/wordpiece", "debug=five_steps", "trainer.batch_size=8"),
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runwright", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"{('good', 'bad')[n % 2]} soup number {n},{('good', 'bad')[n % 2]}" for n in range(60)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def lines_of(arguments: list[str], folder: Path, **variables: str) -> list[tuple[float, str]]:
    """The lines of `runwright train` and the seconds after which each came; asserts that it ends well."""
    environment = {**os.environ, "RUNWRIGHT_CACHE": str(folder / "cache"), **variables}
    began = time.monotonic()
    with subprocess.Popen(
        command("train", *arguments), cwd=folder, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines = [(time.monotonic() - began, line) for line in process.stderr]
    assert process.returncode == 0, "".join(line for _, line in lines)
    return lines


def seconds_to_validate(folder: Path) -> float:
    """A measure of this machine now, and of whatever else it does."""
    began = time.monotonic()
    subprocess.run(command("validate", *SMALL), cwd=folder, check=True, capture_output=True)
    return time.monotonic() - began


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_before_its_first_step_a_run_is_never_silent_and_imports_nothing_in_vain(
    folder: Path, num_processes: int
) -> None:
    lines = lines_of([*SMALL, f"launch.num_processes={num_processes}"], folder, PYTHONPROFILEIMPORTTIME="1")
    first_step = next(number for number, (_, line) in enumerate(lines) if "train: step 1/5" in line)
    shown = [line for line in lines[: first_step + 1] if "import time:" not in line[1]]
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise([(0.0, ""), *shown])]
    assert shown[0][0] < 1.0 or shown[0][0] < 3 * seconds_to_validate(folder), shown[0]
    assert max(gaps) < SILENCE_SECONDS or max(gaps) < 3 * seconds_to_validate(folder), shown
    text = "".join(line for _, line in lines)
    for stage in ("[1/6] importing", "[4/6] reading rows", "encoding rows", "[6/6] making the model"):
        assert stage in text
    imported = {line.rpartition("|")[2].strip() for _, line in lines[:first_step]}
    assert "torch" in imported
    assert not imported & {"sklearn", "matplotlib", "mlflow", "sqlalchemy"}


def test_a_first_import_is_left_to_itself_by_the_garbage_collector() -> None:
    program = (
        "import gc; from runwright.launch.worker import import_uncollected as load; "
        "print(gc.get_freeze_count(), load('wave').__name__, gc.get_freeze_count() > 1000, gc.isenabled()); "
        "gc.unfreeze(); load('wave'); print(gc.get_freeze_count())"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["0", "wave", "True", "True", "0"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "experiment=nosuch"], "experiment=nosuch: given 'nosuch'"),
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train", "optimizer.lr=1e-4x"], "optimizer.lr: given '1e-4x', expected a number > 0"),
        (["predict", "latest", "a text"], "no runs in outputs yet"),
        (["predict"], "the following arguments are required: RUN"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_a_mistake_is_two_lines_and_no_wait(
    run_timed: Any, folder: Path, arguments: list[str], expected: str
) -> None:
    seconds = []
    while not seconds or (seconds[-1] >= 1.0 and len(seconds) < 4):  # others at work slow even its CPU time
        done, spent = run_timed(command(*arguments), cwd=folder)
        seconds.append(spent)
        assert done.returncode == 2
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    assert min(seconds) < 1.0
    assert not (folder / "outputs").exists()
