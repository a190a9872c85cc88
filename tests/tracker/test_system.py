from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
import torch

from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import read_curves
from runwright.tracker.system import SystemSampler
from runwright.types import RunInfo


def run(folder: Path) -> RunInfo:
    return RunInfo(run_id="r", name="demo", folder=folder, config={}, overrides=())


def test_figures_are_those_of_the_machine_and_the_process(tmp_path: Path) -> None:
    sampler = SystemSampler(lambda _: None, every_seconds=60, folder=tmp_path)
    figures = sampler.sample()
    sampler.stop()
    assert 0 <= figures["system/cpu_percent"] <= 100
    assert 0 < figures["system/memory_percent"] <= 100
    resident = psutil.Process().memory_info().rss
    assert abs(figures["system/process_memory_bytes"] - resident) < 0.2 * resident
    assert figures["system/disk_free_bytes"] > 0


def test_figures_are_recorded_by_a_count_that_goes_on_when_a_run_does(tmp_path: Path) -> None:
    for _ in range(2):
        tracker = JournalTracker(system_every_seconds=0.05)
        tracker.start(run(tmp_path))
        time.sleep(0.3)
        tracker.finish("FINISHED")
    steps, values = read_curves(tmp_path / "journal.jsonl")["system/process_memory_bytes"]
    assert steps.tolist() == list(range(len(steps)))
    assert len(steps) >= 4
    assert (values > 0).all()


def test_nothing_is_recorded_where_that_is_switched_off(tmp_path: Path) -> None:
    tracker = JournalTracker(system_every_seconds=None)
    tracker.start(run(tmp_path))
    tracker.finish("FINISHED")
    assert read_curves(tmp_path / "journal.jsonl") == {}


def test_looking_costs_less_than_a_thousandth_of_a_core(tmp_path: Path) -> None:
    sampler = SystemSampler(lambda _: None, every_seconds=60, folder=tmp_path)
    began = time.thread_time()
    for _ in range(100):
        sampler.sample()
    sampler.stop()
    assert (time.thread_time() - began) / 100 < 15 * 0.001  # of the 15 s between two looks


def test_a_gpu_that_does_not_tell_its_load_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotSupportedError(Exception):
        """As pynvml raises it for a part of a GPU (MIG)."""

    def refuse(_: int) -> int:
        raise NotSupportedError

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3, 10))
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    sampler = SystemSampler(lambda _: None, every_seconds=60, folder=tmp_path)
    figures = sampler.sample()
    sampler.stop()
    assert figures["system/gpu0_memory_used_bytes"] == 7
    assert "system/gpu0_percent" not in figures
