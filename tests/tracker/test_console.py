from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import read
from runwright.types import RunInfo, Tracker


def records(run: RunInfo) -> list[dict[str, Any]]:
    return [record for record, _ in read(run.folder / "journal.jsonl")]


def test_everything_is_in_the_journal(make_run: Callable[..., RunInfo]) -> None:
    run = make_run()
    tracker: Tracker = JournalTracker(system_every_seconds=None)
    tracker.start(run)
    tracker.log_params(
        {"optimizer": {"lr": 1e-5, "betas": [0.9, 0.999]}, "debug": None, "fast": True, "empty": {}}
    )
    tracker.log_tags({"kind": "test"})
    tracker.log_metrics({"train/loss": 0.5}, step=1)
    tracker.log_artifact(run.folder / "plots")
    tracker.finish("FINISHED")
    tracker.finish("FAILED")
    kept = [{key: value for key, value in record.items() if key != "t"} for record in records(run)]
    params = {"optimizer.lr": "1e-05", "optimizer.betas": "[0.9, 0.999]", "debug": "null", "fast": "true"}
    assert kept == [
        {"status": "RUNNING"},
        {"params": params | {"empty": "{}"}},
        {"tags": {"kind": "test"}},
        {"s": 1, "m": {"train/loss": 0.5}},
        {"artifact": "plots"},
        {"status": "FINISHED"},
    ]


def test_what_is_no_number_is_left_out_with_one_warning(
    make_run: Callable[..., RunInfo], caplog: pytest.LogCaptureFixture
) -> None:
    import numpy as np
    import torch

    run = make_run()
    tracker = JournalTracker(system_every_seconds=None)
    tracker.start(run)
    odd: dict[str, Any] = {"a": np.float32(0.5), "b": torch.tensor(2.0), "c": "word", "d": None, "e": [1]}
    for step in range(3):
        tracker.log_metrics(odd, step=np.int64(step))  # type: ignore[arg-type]
    tracker.finish("FINISHED")
    assert [record["m"] for record in records(run) if "m" in record] == [{"a": 0.5, "b": 2.0}] * 3
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 3


def test_secrets_do_not_reach_the_journal(
    make_run: Callable[..., RunInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "canary-123")
    run = make_run()
    tracker = JournalTracker(system_every_seconds=None)
    tracker.start(run)
    tracker.log_params(
        {"tracker": {"password": "pw-canary", "uri": "https://ann:uri-canary@host"}, "x": ["canary-123"]}
    )
    tracker.log_tags({"command": "train y=canary-123"})
    tracker.finish("FINISHED")
    assert "canary" not in (run.folder / "journal.jsonl").read_text()


def test_calls_before_the_start_and_after_the_end_do_nothing(tmp_path: Path) -> None:
    tracker = JournalTracker(system_every_seconds=None)
    tracker.log_metrics({"a": 1.0}, step=1)
    tracker.log_artifact(tmp_path)
    tracker.finish("FINISHED")
    assert tracker.sync() == 0


NAMES = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | NAMES, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("num_cases", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_name_or_value_raises_into_the_run(num_cases: int, make_run: Callable[..., RunInfo]) -> None:
    @settings(max_examples=num_cases, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(NAMES, VALUES, max_size=4), st.integers() | st.floats())
    def record(values: dict[str, Any], step: Any) -> None:
        run = make_run()
        (run.folder / "journal.jsonl").unlink(missing_ok=True)
        tracker = JournalTracker(system_every_seconds=None)
        tracker.start(run)
        tracker.log_params(values)
        tracker.log_tags(values)
        tracker.log_metrics(values, step=step)
        tracker.log_metrics({"after": 1.0}, step=1)
        tracker.finish("FINISHED")
        assert tracker.sync() == 0
        assert records(run)[-1]["status"] == "FINISHED"

    record()
