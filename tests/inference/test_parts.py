"""`predict` and `evaluate` by several processes: the same rows as one process writes, through kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import runwright
from runwright.cli.main import main
from runwright.errors import ConfigError
from runwright.inference.parts import parts_folder, shared
from runwright.trainer.ranks import ALONE, Ranks

NUM_ROWS = 9_000  # five parts of a prediction, three of an evaluation
SMALL = [
    "dataset=json", "dataset.source.files.train=train.jsonl", "model=scratch", "tokenizer=train/word",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
    "tracker=console", "trainer.max_epochs=null", "trainer.max_steps=20", "trainer.device=cpu",
    "trainer.evaluate_every_epochs=null", "trainer.save_every_epochs=null", "optimizer.lr=0.05",
    "trainer.num_threads=1", "metric=[accuracy]",
]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and a file of many rows."""
    folder, draw = tmp_path_factory.mktemp("project"), random.Random(1)
    words = ["good", "bad", "fine", "dull", "film", "plot", "the", "a"]
    for name, count in (("train", 200), ("many", NUM_ROWS)):
        texts = [" ".join(draw.choices(words, k=draw.randint(1, 20))) for _ in range(count)]
        rows = ({"text": text, "label": "np"["good" in text], "id": n} for n, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runwright.run(SMALL)
    return folder


def command(*words: str, folder: Path, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
    environment = {**os.environ, "RUNWRIGHT_CACHE": str(folder / "cache")}
    arguments = [sys.executable, *launcher, "runwright", *words]
    return subprocess.Popen(arguments, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def run_command(*words: str, folder: Path, launcher: tuple[str, ...] = ("-m",)) -> str:
    """What a command that succeeds says."""
    process = command(*words, folder=folder, launcher=launcher)
    _, shown = process.communicate()
    assert process.returncode == 0, shown
    return shown


def kill_early(*words: str, folder: Path, parts: str) -> list[Path]:
    """Kill a command when it has made its first part; the parts that are there."""
    process = command(*words, folder=folder)
    while not list(folder.glob(parts)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return list(folder.glob(parts))


def same_rows(one: Path, other: Path) -> None:
    pairs = zip(one.read_text().splitlines(), other.read_text().splitlines(), strict=True)
    for expected, given in (map(json.loads, pair) for pair in pairs):
        assert {**given, "score": 0} == {**expected, "score": 0}
        assert given["score"] == pytest.approx(expected["score"], abs=1e-6)


def test_each_item_is_made_by_one_rank_and_not_again_by_a_later_start(tmp_path: Path) -> None:
    made: list[tuple[int, str]] = []

    def make(number: int, item: str) -> bytes:
        made.append((number, item))
        return item.encode()

    ranks = [Ranks(rank=rank, num_ranks=2, device=ALONE.device) for rank in (0, 1)]
    assert list(shared(tmp_path, "abcde", make, ranks=ranks[1])) == []
    assert made == [(0, "a"), (2, "c"), (4, "e")]
    assert [file.read_text() for file in shared(tmp_path, "abcde", make, ranks=ranks[0])] == [*"abcde"]
    assert made[3:] == [(1, "b"), (3, "d")]
    assert [file.read_text() for file in shared(tmp_path, "abcde", make, ranks=ALONE)] == [*"abcde"]
    assert len(made) == 5


def test_a_slow_rank_makes_nothing_again_when_the_first_one_is_done_already(tmp_path: Path) -> None:
    def make(number: int, item: str) -> bytes:
        return item.encode()

    def items() -> Iterator[str]:
        shutil.rmtree(folder)  # as the first rank does at the end
        yield from "abc"

    folder = tmp_path / "parts"
    folder.mkdir()
    assert len([*shared(folder, "abc", make, ranks=ALONE)]) == 3
    late = Ranks(rank=1, num_ranks=2, device=ALONE.device)
    assert [*shared(folder, items(), make, ranks=late)] == []
    assert not folder.exists()


def test_a_folder_of_parts_is_one_command_s(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(folder=tmp_path / "run", ranks=ALONE)
    output = tmp_path / "out.jsonl"
    with parts_folder(output, run, "a") as first:
        with (
            pytest.raises(ConfigError, match="given while another command writes it"),
            parts_folder(output, run, "a"),
        ):
            raise AssertionError
        with parts_folder(output, run, "b") as second:
            assert second != first
        assert first.exists()
        assert not second.exists()
    assert list(tmp_path.iterdir()) == []


def test_parts_that_a_killed_command_left_of_other_options_go_with_the_output(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(folder=tmp_path / "run", ranks=ALONE)
    with pytest.raises(KeyboardInterrupt), parts_folder(tmp_path / "out.jsonl", run, "a"):
        raise KeyboardInterrupt
    with parts_folder(tmp_path / "out.jsonl", run, "b"):
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_parts_of_one_process_are_the_rows_of_none(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    (editors := tmp_path / ".parts.jsonl.swp").touch()
    for name, flags in (("plain", []), ("parts", ["--num-processes", "1"])):
        for ending in ("jsonl", "csv"):
            output = str(tmp_path / f"{name}.{ending}")
            words = ["predict", "latest", "--file", "train.jsonl", "--output", output, "--all-scores"]
            assert main([*words, *flags]) == 0
    for ending in ("jsonl", "csv"):
        assert (tmp_path / f"plain.{ending}").read_bytes() == (tmp_path / f"parts.{ending}").read_bytes()
    assert list(tmp_path.glob(".*")) == [editors]
    assert main(["predict", "latest", "good", "--num-processes", "2"]) == 2
    assert "several processes take --file FILE and --output FILE" in capsys.readouterr().err


@pytest.mark.slow
def test_a_prediction_that_was_killed_goes_on_and_has_each_row_once(project: Path) -> None:
    words = ["predict", "latest", "--file", "many.jsonl", "--output"]
    run_command(*words, "one.jsonl", folder=project)
    shares = [*words, "two.jsonl", "--num-processes", "2"]
    parts = kill_early(*shares, folder=project, parts=".two.jsonl.parts-*/0*")
    times = {part: part.stat().st_mtime_ns for part in parts}
    assert not (project / "two.jsonl").exists()
    goes_on = command(*shares, folder=project)
    while goes_on.poll() is None:
        for part, before in times.items():
            if part.exists():
                assert part.stat().st_mtime_ns == before
        time.sleep(0.01)
    assert goes_on.returncode == 0, goes_on.communicate()
    goes_on.communicate()
    same_rows(project / "one.jsonl", project / "two.jsonl")
    assert not list(project.glob(".two*"))


@pytest.mark.slow
def test_a_worker_s_mistake_is_the_command_s(project: Path) -> None:
    lines = (project / "many.jsonl").read_text().splitlines()
    lines[5_000] = '{"other": "no text"}'
    (project / "wrong.jsonl").write_text("\n".join(lines))
    words = ["predict", "latest", "--file", "wrong.jsonl", "--output", "w.jsonl", "--num-processes", "2"]
    process = command(*words, folder=project)
    _, shown = process.communicate()
    assert process.returncode == 3
    assert "wrong.jsonl" in shown
    assert "5,001" in shown or "5001" in shown or "row 5" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_torchrun_and_a_signal(project: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--no_python", sys.executable, "-m")
    words = ["predict", "latest", "--file", "train.jsonl", "--output"]
    run_command(*words, "alone.jsonl", folder=project)
    run_command(*words, "run.jsonl", folder=project, launcher=torchrun)
    same_rows(project / "alone.jsonl", project / "run.jsonl")
    words = ["predict", "latest", "--file", "many.jsonl", "--output", "s.jsonl", "--num-processes", "2"]
    process = command(*words, folder=project)
    while not list(project.glob(".s.jsonl.parts-*/0*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, shown = process.communicate()
    assert process.returncode == 143
    assert "the same command goes on" in shown


def metrics_of(folder: Path) -> dict[str, Any]:
    newest = max(folder.glob("outputs/*/*/evaluations/2*"))
    return json.loads((newest / "metrics.json").read_text())


@pytest.mark.slow
def test_an_evaluation_that_was_killed_goes_on_to_the_same_metrics(project: Path) -> None:
    words = ["evaluate", "latest", "dataset.source.files.test=many.jsonl"]
    run_command(*words, folder=project)
    expected = metrics_of(project)
    shares = [*words, "--num-processes", "2"]
    assert kill_early(*shares, folder=project, parts="outputs/*/*/evaluations/.test.parts-*/0*")
    run_command(*shares, folder=project)
    assert metrics_of(project) == pytest.approx(expected, rel=1e-6)
    assert not list(project.glob("outputs/*/*/evaluations/.test*"))
