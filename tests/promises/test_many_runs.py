"""Runs one after the other in one process leave no file open, no thread, no process and no temporary file."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import psutil
import pytest

import runwright


def held() -> dict[str, int]:
    process = psutil.Process()
    return {
        "files": process.num_fds(),
        "threads": threading.active_count(),
        "processes": len(process.children(recursive=True)),
        "temporary files": len(list(Path(tempfile.gettempdir()).iterdir())),
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("num_runs", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_what_a_process_holds_does_not_grow_with_its_runs(
    num_runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))  # nobody else's come and go there
    (tmp_path / "temporary").mkdir()
    rows = [f"the film {number} was {word},{word}" for number in range(8) for word in ("good", "bad")]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    model = "{hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}"
    overrides = [
        *("dataset=csv", f"dataset.source.files.train={tmp_path / 'reviews.csv'}", "tracker=console"),
        *("dataset.holdout.validation=0.25", "tokenizer=train/word", "tokenizer.model.vocab_size=50"),
        *("model=scratch", f"model.config={model}", "trainer.max_epochs=1", "trainer.num_threads=1"),
        f"output_dir={tmp_path / 'outputs'}",
    ]
    runwright.run(overrides)  # what is made once in a process
    before = held()
    for _ in range(num_runs):
        runwright.run(overrides)
    after = held()
    assert {name: after[name] - before[name] for name in before if after[name] > before[name]} == {}
