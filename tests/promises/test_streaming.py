"""Promises 2 and 3 where train is a stream: killed and resumed, on any number of processes, flat memory."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
STREAM = ["dataset.streaming=true", "dataset.shuffle_buffer=10", "task.label_names=[x,y,z]"]
PEAK = """
import resource, sys
from itertools import islice, repeat
from runwright.dataset.examples import EncodedStream
from runwright.dataset.readers.files import read_json
from runwright.trainer.batches import Cut
from runwright.trainer.batches import StreamBatches

class Counts:
    def inputs_of(self, rows):
        return rows
    def encode(self, columns):
        return [
            {"example_id": row, "input_ids": [len(word) for word in text.split()]}
            for row, text in zip(columns["row_id"], columns["text"])
        ]
    def count(self, examples):
        return float(len(examples))
    def augment(self, examples, *, seed, epoch):
        return examples
    def collate(self, examples):
        return {}

options = {"encoding": "utf-8", "field": None, "streaming": True}
source = read_json(files={"train": sys.argv[1]}, folder=None, **options)
task = Counts()
stream = EncodedStream(
    rows=source["train"], kinds={"text": "text"}, inputs_of=task.inputs_of, encode=task.encode
)
batches = StreamBatches(stream, task, batch_size=100, shuffle_buffer=2000, seed=0, cut=Cut())
peaks = []
for batch in batches.iterate(0, int(sys.argv[2])):
    if batch.step in (60, int(sys.argv[2]) - 1):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(*peaks)
"""


def kill(processes: Any, run: Any, *, num_processes: int, at: int) -> None:
    """SIGKILL to all processes of a run when it has recorded a step."""
    job = processes.start("execute_run", run.folder, num_processes=num_processes)
    run.wait_for_step(at, job)
    job.kill(signal.SIGKILL)
    assert set(job.wait()) == {-signal.SIGKILL}, job.output()
    assert run.last_step() < 60


def assert_same(one: Any, other: Any) -> None:
    assert other.weights() == one.weights()
    assert other.training() == one.training()  # the position in the stream is in it
    assert other.metrics() == one.metrics()
    assert not [record for record in other.records() if "conflict" in record]
    assert other.status() == "FINISHED"


@pytest.mark.parametrize("num_processes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_run_on_a_stream_resumes_bit_for_bit(
    processes: Any, new_run: Run, num_processes: int
) -> None:
    whole, killed = new_run("name=whole", *STREAM), new_run("name=killed", *STREAM)
    processes.call("execute_run", whole.folder, num_processes=num_processes)
    assert whole.training()["stream"]["epoch"] == 11  # 37 rows, 8 a step: 5 steps an epoch
    chance = random.Random(num_processes)
    for at in sorted(chance.sample(range(3, 50), k=2)):
        kill(processes, killed, num_processes=num_processes, at=at)
    processes.call("execute_run", killed.folder, num_processes=num_processes)
    assert_same(whole, killed)


def test_a_run_on_a_stream_goes_on_with_another_number_of_processes(processes: Any, new_run: Run) -> None:
    whole, moved = new_run("name=whole", *STREAM), new_run("name=moved", *STREAM)
    processes.call("execute_run", whole.folder, num_processes=1)
    kill(processes, moved, num_processes=2, at=23)
    processes.call("execute_run", moved.folder, num_processes=1)
    for name in ("ledger", "stream", "step", "num_examples", "real_tokens", "padded_tokens"):
        assert moved.training()[name] == whole.training()[name]
    found, expected = moved.metrics()["train/loss"], whole.metrics()["train/loss"]
    assert [step for step, _ in found] == [step for step, _ in expected]
    values = [float.fromhex(value) for _, value in expected]
    assert [float.fromhex(value) for _, value in found] == pytest.approx(values, rel=1e-5)


def test_files_that_changed_are_refused(processes: Any, new_run: Run, tmp_path: Path) -> None:
    rows = [f"a good film {number},{'xyz'[number % 3]}" for number in range(40)]
    file = tmp_path / "train.csv"
    file.write_text("\n".join(["text,label", *rows]))
    run = new_run(f"dataset.source.files.train={file}", *STREAM)
    kill(processes, run, num_processes=1, at=9)
    file.write_text(file.read_text().replace("good", "fine", 1))
    job = processes.start("execute_run", run.folder, num_processes=1)
    assert job.wait() == [4], job.output()
    assert "train: other rows (fingerprint" in job.output()
    assert f"files with other content: {file}" in job.output()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = json.dumps({"text": " ".join(["word"] * 300)}) + "\n"
    for num_rows in (10_000, 200_000):  # 15 and 300 MB
        with (tmp_path / f"{num_rows}.jsonl").open("w") as file:
            file.writelines(line for _ in range(num_rows))
    peaks = {}
    for num_rows in (10_000, 200_000):
        command = [sys.executable, "-c", PEAK, str(tmp_path / f"{num_rows}.jsonl"), str(num_rows // 100)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[num_rows] = [float(value) for value in done.stdout.split()]
    early, late = peaks[200_000]
    assert late - early < 40  # MB, of a file of 300
    assert late - peaks[10_000][-1] < 40
