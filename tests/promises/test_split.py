"""Promise 1: the split does not matter: one step under every cut, on 1, 2 and 4 processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOLERANCES = {"torch.float64": 1e-10, "torch.float32": 1e-5}
SPLITS = {"1x1", "4x1", "8x1", "4x2", "3x2", "2x4", "4x4"}  # microbatches x processes


@pytest.fixture(scope="module")
def steps(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
    """Loss and gradient by problem, architecture, precision and split."""
    folder: Path = tmp_path_factory.mktemp("parity")
    found: dict[str, np.ndarray] = {}
    for num_processes in (1, 2, 4):
        processes.call("parity", folder, num_processes=num_processes)
        with np.load(folder / f"parity-{num_processes}.npz") as archive:
            found |= dict(archive)
    return found


def test_every_split_gives_the_same_loss_and_gradient(steps: Mapping[str, np.ndarray]) -> None:
    assert {name.split("/")[-1].split()[0] for name in steps} == SPLITS
    assert len(steps) == 15 * (
        (3 + 4 * 4) + (3 + 4)
    )  # problems, splits with their assignments in each precision
    for name, found in steps.items():
        problem, precision = name.rpartition("/")[0], name.split("/")[2]
        expected = steps[f"{problem}/1x1 by cost"]
        norm = np.linalg.norm(expected[1:])
        assert norm > 1e-3, name
        limit = TOLERANCES[precision]
        assert abs(found[0] - expected[0]) <= limit * abs(expected[0]), name
        assert np.linalg.norm(found[1:] - expected[1:]) <= limit * norm, name
