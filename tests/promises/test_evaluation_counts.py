"""Promise 6: every evaluated example counts once, and the figures are the same on any number of processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_texts_are_the_same_on_1_2_and_3_processes(processes: Any, tmp_path: Path) -> None:
    texts = {}
    for num_processes in (1, 2, 3):
        processes.call("generation", tmp_path, num_processes=num_processes)
        texts[num_processes] = json.loads((tmp_path / f"generation-{num_processes}.json").read_text())
    assert len({text for of_one in texts[1]["Sample"] for text in of_one}) > 19
    assert texts[2] == texts[1]
    assert texts[3] == texts[1]


def test_figures_are_the_same_bit_for_bit_on_1_2_3_and_4_processes(processes: Any, tmp_path: Path) -> None:
    # The programs assert that each example was computed once; splits of 1 and 2 leave ranks without any.
    found = {}
    for num_processes in (1, 2, 3, 4):
        processes.call("evaluation", tmp_path, num_processes=num_processes)
        found[num_processes] = json.loads((tmp_path / f"evaluation-{num_processes}.json").read_text())
    assert len(found[1]) == 3 * 4  # problems, sizes
    assert found[2] == found[1]
    assert found[3] == found[1]
    assert found[4] == found[1]
