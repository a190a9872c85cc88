"""Groups of real processes for the promises: see processes/server.py."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("processes") / "server.py"
CLOCKS = ("time/", "speed/", "memory/", "system/")
WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@dataclass
class Job:
    """A group of processes that was started."""

    folder: Path
    num_processes: int
    pids: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, *, seconds: float = 120.0) -> list[int]:
        """Exit codes when all have ended."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.codes), seconds), self.output()
        return self.codes

    def output(self) -> str:
        return "\n".join(
            f"--- {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("output-*.txt"))
        )

    def kill(self, number: int, *, ranks: list[int] | None = None) -> None:
        """Send a signal to all processes, or to those of some ranks."""
        for rank, pid in enumerate(self.pids):
            if ranks is None or rank in ranks:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue


class Processes:
    """Starts groups of processes from one that has imported everything."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._jobs: dict[int, Job] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, program: str, folder: Path, *, num_processes: int, **arguments: Any) -> Job:
        """Call a function of programs.py in a group of processes."""
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(folder, num_processes)
        number = len(self._jobs)
        self._jobs[number] = job
        request = {"job": number, "program": program, "num_processes": num_processes, "folder": str(folder)}
        assert self._server.stdin
        self._server.stdin.write(json.dumps({**request, "arguments": arguments}) + "\n")
        self._server.stdin.flush()
        with job.changed:
            assert job.changed.wait_for(lambda: bool(job.pids), 120), self._server.poll()
        return job

    def call(self, program: str, folder: Path, *, num_processes: int, **arguments: Any) -> None:
        """The same, to its end, which must be a good one."""
        job = self.start(program, folder, num_processes=num_processes, **arguments)
        assert job.wait() == [0] * num_processes, job.output()

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._reader.join()
        assert self._server.stdout
        self._server.stdout.close()

    def _read(self) -> None:
        assert self._server.stdout
        for line in self._server.stdout:
            message = json.loads(line)
            job = self._jobs[message["job"]]
            with job.changed:
                job.pids = message.get("pids", job.pids)
                job.codes = message.get("codes", job.codes)
                job.changed.notify_all()


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()


@pytest.fixture(scope="session")
def experiment(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a tiny experiment: two layers of BERT with dropout, 60 steps, one thread."""
    folder = tmp_path_factory.mktemp("experiment")
    processes.call("save_tokenizer", folder / "tokenizer", num_processes=1)
    chance = random.Random(0)
    for split, count in (("train", 37), ("validation", 13), ("test", 3)):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for _ in range(count):
                writer.writerow(
                    [" ".join(chance.choices(WORDS, k=chance.randint(1, 16))), chance.choice("xyz")]
                )
    files = [
        f"dataset.source.files.{split}={folder}/{split}.csv" for split in ("train", "validation", "test")
    ]
    return [
        "dataset=csv", *files, f"tokenizer.name={folder}/tokenizer", "task.max_length=32", "model=scratch",
        "model.config.hidden_size=16", "model.config.intermediate_size=32", "model.dropout=0.2",
        "model.config.max_position_embeddings=40", "tracker=console", "optimizer.lr=1e-3",
        "trainer.device=cpu", "trainer.num_threads=1", "trainer.batch_size=8", "trainer.microbatch_size=3",
        "trainer.max_epochs=null", "trainer.max_steps=60", "trainer.evaluate_every_epochs=null",
        "trainer.evaluate_every_steps=20", "trainer.evaluate_at_start=true", "trainer.save_every_epochs=null",
        "trainer.save_every_steps=7",
    ]  # fmt: skip


@dataclass
class RunFiles:
    """What a run left in its folder."""

    folder: Path

    def metrics(self) -> dict[str, list[tuple[int, str]]]:
        """Step and value, as hexadecimal digits, of each record of each metric but clocks, as written."""
        found: dict[str, list[tuple[int, str]]] = {}
        for record in self.records():
            for name, value in record.get("m", {}).items():
                if not name.startswith(CLOCKS):
                    found.setdefault(name, []).append((record["s"], float(value).hex()))
        return found

    def records(self) -> list[dict[str, Any]]:
        """The complete lines of the journal."""
        lines = (self.folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def last_step(self) -> int:
        """The newest step whose loss is in the journal."""
        if not (self.folder / "journal.jsonl").is_file():
            return 0
        return max((step for step, _ in self.metrics().get("train/loss", [])), default=0)

    def weights(self) -> str:
        """sha256 of the weights after the last step."""
        newest = max((self.folder / "checkpoints").glob("step-*"))
        return json.loads((newest / "manifest.json").read_text())["files"]["model.safetensors"]["sha256"]

    def training(self) -> dict[str, Any]:
        """The training state after the last step, without clocks."""
        newest = max((self.folder / "checkpoints").glob("step-*"))
        state = json.loads((newest / "state.json").read_text())["training"]
        return {name: value for name, value in state.items() if not name.endswith("_seconds")}

    def status(self) -> str:
        return json.loads((self.folder / "run.json").read_text())["status"]

    def wait_for_step(self, step: int, job: Job) -> None:
        """Until the journal has this step, while the job goes on."""
        until = time.monotonic() + 240  # a group that starts cold on a busy machine
        while self.last_step() < step:
            assert not job.codes, job.output()
            assert time.monotonic() < until, job.output()
            time.sleep(0.005)


@pytest.fixture
def new_run(experiment: list[str], tmp_path: Path) -> Callable[..., RunFiles]:
    """Makes the folder of a run of the tiny experiment."""
    return lambda *overrides: _make_run([*experiment, f"output_dir={tmp_path}/outputs", *overrides])


@pytest.fixture(scope="session")
def whole_run(
    experiment: list[str], processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., RunFiles]:
    """The tiny experiment run without a break on so many processes, with some overrides, at a precision."""
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def make(num_processes: int, overrides: tuple[str, ...], dtype: str) -> RunFiles:
        made = _make_run([*experiment, f"output_dir={folder}", *overrides])
        processes.call("execute_run", made.folder, num_processes=num_processes, dtype=dtype)
        assert made.training()["step"] == 60
        return made

    return lambda num_processes, *overrides, dtype="float32": make(num_processes, overrides, dtype)


def _make_run(overrides: list[str]) -> RunFiles:
    from runwright.config.compose import compose_checked
    from runwright.runs.folder import create

    composed = compose_checked(overrides)
    return RunFiles(create(composed.config, overrides=composed.overrides, command=["test"]))
