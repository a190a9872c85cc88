"""Promise 3: the number of processes does not matter, with dropout and over many steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runwright.launch.worker import read_report

Curves = Callable[[int], Mapping[str, list[float]]]
NUM_STEPS = 50
TOLERANCES = {"torch.float64": 1e-10, "torch.float32": 1e-5}


@pytest.fixture(scope="module")
def curves(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Loss of each step by precision, on so many processes."""
    folder: Path = tmp_path_factory.mktemp("curves")

    @cache
    def curves_of(num_processes: int) -> Mapping[str, list[float]]:
        processes.call("curve", folder, num_processes=num_processes, num_steps=NUM_STEPS)
        texts = json.loads((folder / f"curve-{num_processes}.json").read_text())
        return {dtype: [float.fromhex(text) for text in curve] for dtype, curve in texts.items()}

    return curves_of


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("num_processes", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_each_of_50_steps_has_the_same_loss_with_dropout(
    curves: Curves, num_processes: int, dtype: str
) -> None:
    expected = curves(1)[dtype]
    assert len(expected) == NUM_STEPS
    assert expected[-1] < expected[0]  # it learns something meanwhile
    assert curves(num_processes)[dtype] == pytest.approx(expected, rel=TOLERANCES[dtype], abs=0)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_ranks_without_microbatch_gradient_or_message(
    processes: Any, tmp_path: Path, num_processes: int
) -> None:
    processes.call("odd_cases", tmp_path, num_processes=num_processes)


@pytest.mark.parametrize("last_rank", ["leaves", "is late"])
def test_a_rank_that_is_gone_or_late_is_noticed_and_told_apart(
    processes: Any, tmp_path: Path, last_rank: str
) -> None:
    processes.call("lost_and_late", tmp_path, num_processes=3, last_rank=last_rank)
    kinds = {read_report(tmp_path, rank).kind for rank in (0, 1)}  # type: ignore[union-attr]
    assert ("timeout" in kinds) == (last_rank == "is late")
