"""Run folders as runs leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.runs.folder import create, update_status
from runwright.tracker.journal import Journal

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A run in `outputs/` of the test's folder, with figures and settings."""

    def make(
        name: str = "demo",
        *,
        status: str = "FINISHED",
        started: float = 1_800_000_000.0,
        metrics: dict[str, float] | None = None,
        **config: Any,
    ) -> Path:
        settings = {"name": name, "output_dir": str(tmp_path / "outputs"), **config}
        overrides = [f"{key}={value}" for key, value in config.items()]
        folder = create(settings, overrides=overrides, command=["runwright", "train"])
        update_status(folder, status, start_time=started, end_time=started + 90, device="cpu")
        journal = Journal(folder / "journal.jsonl")
        for step in (1, 2):
            journal.metrics({"train/loss": 1 / step}, step=step)
        journal.close()
        if status == "FINISHED":
            summary = {"global_step": 2, "metrics": metrics or {}, "intervals": {}}
            (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return make
