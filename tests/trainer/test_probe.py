"""trainer.microbatch_tokens=auto where memory is really short, for one process and for one of two."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from runwright.trainer.batches import Batches, Cut
from runwright.trainer.probe import largest_fit

# `runwright train` with so many MiB, above what it has when its batches are there and torch has done a first
# step, for which it loads modules and starts threads.
PROGRAM = """
import os, re, resource, sys
from pathlib import Path
import torch
from runwright import build
from runwright.cli.main import main

make = build.build_batches
def limited(*given, **named):
    batches = make(*given, **named)
    if more := int(os.environ.get("MIB", "0")):
        layer = torch.nn.TransformerEncoderLayer(64, 2, 64)
        layer(torch.ones(64, 2, 64)).sum().backward()
        torch.optim.AdamW(layer.parameters()).step()
        used = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (used + (more << 20),) * 2)
    return batches

build.build_batches = limited
sys.exit(main(["train", *sys.argv[1:]]))
"""
SIZES = "hidden_size:128,num_hidden_layers:2,num_attention_heads:2,intermediate_size:512"
OVERRIDES = [
    *("dataset=csv", "dataset.source.files.train=rows.csv", "dataset.holdout.validation=0"),
    *("tokenizer=train/word", "model=scratch", f"model.config={{{SIZES}}}", "model.dropout=0"),
    *("task.max_length=128", "trainer=steps", "trainer.max_steps=3", "trainer.batch_size=128"),
    *("trainer.device=cpu", "trainer.num_threads=1", "metric=[accuracy]", "tracker=console"),
]
LIMIT = "230"  # a batch of 128 texts of 128 words takes some 270, and 128 are held in reserve


def start(folder: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    """A training in `folder`, of rows that are made there."""
    if not (folder / "rows.csv").exists():
        chance = random.Random(0)
        texts = [" ".join(chance.choices("abcdefgh", k=chance.randint(90, 130))) for _ in range(160)]
        rows = [f"{text},{number % 2}" for number, text in enumerate(texts)]
        (folder / "rows.csv").write_text("\n".join(["text,label", *rows]))
    command = [sys.executable, "-c", PROGRAM, *OVERRIDES, *more]
    # glibc gives back what is freed at once: the limit counts what it has, in use or not.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", **variables}
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def train(folder: Path, *more: str, **variables: str) -> tuple[int, str]:
    process = start(folder, *more, **variables)
    _, errors = process.communicate()
    return process.returncode, errors


def found(folder: Path, name: str) -> tuple[Any, list[float]]:
    """microbatch_tokens of the configuration of a run, and its losses by step."""
    (run,) = (folder / "outputs" / name).iterdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    records = [json.loads(line).get("m", {}) for line in (run / "journal.jsonl").read_text().splitlines()]
    return config["trainer"]["microbatch_tokens"], [m["train/loss"] for m in records if "train/loss" in m]


@pytest.mark.parametrize("optimizer", [torch.optim.Adagrad, torch.optim.AdamW, torch.optim.SGD])
def test_trying_leaves_weights_and_optimizer_as_they_are(
    optimizer: Any, make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task()
    stepper = make_stepper(model := make_model(task), task)
    trained = replace(stepper, optimizer=optimizer(model.parameters(), lr=0.1, weight_decay=0.1))
    weights, state = deepcopy((model.state_dict(), trained.optimizer.state_dict()))  # Adagrad begins with one
    batches = Batches(make_examples(task, 8), task, batch_size=4, seed=0, cut=Cut(padded=False))
    lengths = sorted(batches.examples.lengths.tolist())
    assert largest_fit(trained, batches) == sum(lengths[-4:])
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    torch.testing.assert_close(trained.optimizer.state_dict(), state, rtol=0, atol=0)


@pytest.mark.slow
def test_where_memory_is_short_the_microbatch_is_halved_and_the_numbers_stay(tmp_path: Path) -> None:
    auto = "trainer.microbatch_tokens=auto"
    assert train(tmp_path, auto, "name=short", MIB=LIMIT)[0] == 0
    assert train(tmp_path, auto, "name=ample")[0] == 0
    tokens, losses = found(tmp_path, "short")
    whole, others = found(tmp_path, "ample")
    assert whole // 8 <= tokens <= whole // 2
    assert losses == pytest.approx(others, rel=1e-5)  # only the cut is another one
    # Trying it out has changed nothing, and what config.yaml says is what was used.
    assert train(tmp_path, f"trainer.microbatch_tokens={tokens}", "name=told")[0] == 0
    assert found(tmp_path, "told") == (tokens, losses)
    assert train(tmp_path, "trainer.microbatch_tokens=null", "name=uncut", MIB=LIMIT)[0] != 0


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_the_microbatch_that_it_found(tmp_path: Path) -> None:
    words = ["trainer.microbatch_tokens=auto", "resume=auto"]
    assert train(tmp_path, *words, "name=on", MIB=LIMIT)[0] == 0
    tokens = found(tmp_path, "on")[0]
    (record,) = tmp_path.glob("outputs/on/*/run.json")
    record.write_text(record.read_text().replace("FINISHED", "KILLED"))
    assert train(tmp_path, *words, "name=on", "trainer.max_steps=4")[0] == 0  # with all memory
    assert (tokens, 4) == (found(tmp_path, "on")[0], len(found(tmp_path, "on")[1]))


@pytest.mark.slow
def test_one_example_that_does_not_fit_is_refused_before_the_first_step(tmp_path: Path) -> None:
    code, errors = train(tmp_path, "trainer.microbatch_tokens=auto", MIB="4")
    assert code == 2
    assert "trainer.microbatch_tokens: given auto, but there is no memory for one example of 128" in errors


@pytest.mark.slow
def test_two_processes_take_what_the_shorter_one_has_memory_for(tmp_path: Path) -> None:
    auto = ["trainer.microbatch_tokens=auto", "launch.num_processes=2"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    names = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        start(tmp_path, *auto, "name=two", RANK=str(rank), LOCAL_RANK=str(rank), MIB=mib, **names)
        for rank, mib in enumerate(("0", LIMIT))
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert train(tmp_path, "trainer.microbatch_tokens=null", "name=one")[0] == 0
    tokens, losses = found(tmp_path, "two")
    assert tokens < 128 * 90
    assert losses == pytest.approx(found(tmp_path, "one")[1], rel=1e-5)
