"""Fault 7: no room for a checkpoint. The old one stays, the message says what lacks, the next save tries."""

from __future__ import annotations

import json
import random
import re
import runpy
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

DISK = Path(__file__).with_name("crashes") / "disk.py"
NUM_BYTES = 200_000  # of the tensors of one checkpoint
FEW, MANY = 4, 20


def sizes(kind: str, count: int) -> list[int]:
    """Room for nothing up to room for almost all of it, evenly, each a little off."""
    # A limit is of one file, of which the largest has half of the bytes. A disk holds all of them in whole
    # pages: room for 211,000 passes the check beforehand and is still too little.
    most = 99_000 if kind == "limit" else 211_000
    chance = random.Random(kind)
    return [int(most * (place + chance.random()) / (count - 1)) for place in range(count - 1)] + [most]


def save_without_room(context: ForkServerContext, folder: Path, *, kind: str, size: int) -> dict[str, Any]:
    report = folder / "report.json"
    given = {"folder": str(folder / "run"), "report": str(report), "kind": kind, "size": size}
    process = context.Process(target=runpy.run_path, args=(str(DISK), {"ARGUMENTS": given}, "__main__"))  # type: ignore[arg-type]
    process.start()
    process.join(60)
    assert process.exitcode == 0
    process.close()
    return json.loads(report.read_text())


@pytest.mark.parametrize("kind", ["limit", "disk"])
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_save_without_room_fails_alone(
    kind: str, count: int, context: ForkServerContext, tmp_path: Path
) -> None:
    for size in sizes(kind, count):
        folder = tmp_path / str(size)
        folder.mkdir()
        found = save_without_room(context, folder, kind=kind, size=size)
        if "skipped" in found:
            pytest.skip(found["skipped"])
        assert found["first"] is None
        assert found["old is whole"]
        assert found["left over"] == ["step-00000001"]
        for step, message in ((2, found["failure"]), (3, found["again"])):
            assert message is not None, size
            assert str(folder / "run" / "checkpoints") in message
            assert f"step {step} " in message
            assert f"needs {NUM_BYTES:,} bytes" in message
            (free,) = re.findall(r"([\d,]+) are free", message)
            if kind == "disk":
                assert size - 8192 <= int(free.replace(",", "")) <= size + 8192  # whole pages
        assert found["with room"] is None
        assert found["new is whole"]
