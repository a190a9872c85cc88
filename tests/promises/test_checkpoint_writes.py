"""Faults 2 and 3: a save that crashes anywhere, and checkpoints that are damaged anyhow."""

from __future__ import annotations

import json
import random
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from runwright.errors import CheckpointError
from runwright.trainer.checkpoint import (
    MANIFEST,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    CheckpointStore,
    list_checkpoints,
    load,
)

SAVING = Path(__file__).with_name("crashes") / "saving.py"
CRASHED = 9
snapshot: Callable[..., Any] = runpy.run_path(str(SAVING))["snapshot"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is there, and what is saved on top."""

    there: tuple[int, ...]
    damaged: tuple[int, ...] = ()
    leftover: str = ""
    step: int
    keep: int = 1
    protected: int | None = None

    def prepare(self, folder: Path) -> Path:
        store = CheckpointStore(folder, keep=9, identity={})
        for step in self.there:
            store.save(snapshot(step))
            assert store.wait() is None
        for step in self.damaged:
            (folder / f"step-{step:08d}" / OPTIMIZER).write_bytes(b"")
        if self.leftover:
            shutil.copytree(folder / f"step-{self.there[-1]:08d}", folder / self.leftover)
        return folder


SCENES = {
    "the first one": Scene(there=(), step=4),
    "one is kept": Scene(there=(4,), step=8),
    "two are kept": Scene(there=(2, 4, 6), step=8, keep=2),
    "the best is kept": Scene(there=(2, 4), step=6, protected=2),
    "the same step again": Scene(there=(4,), step=4),
    "beside a damaged newer one": Scene(there=(4, 8), damaged=(8,), step=6),
    "over a damaged one": Scene(there=(4, 8), damaged=(8,), step=8),
    "after a killed save": Scene(there=(4,), leftover=".step-00000008.1.partial", step=8),
}


def save_and_crash(context: ForkServerContext, folder: Path, scene: Scene) -> tuple[list[str], list[int]]:
    """The file operations of the save, and the exit codes of a whole one and of those cut short by each."""
    options = {"step": scene.step, "keep": scene.keep, "protected": scene.protected}
    given = {"ARGUMENTS": {"folder": str(folder), **options}}
    process = context.Process(target=runpy.run_path, args=(str(SAVING), given, "__main__"))  # type: ignore[arg-type]
    process.start()
    process.join(120)
    assert process.exitcode == 0
    process.close()
    report = json.loads((folder / "report.json").read_text())
    return report["operations"], report["codes"]


def is_of_one_step(folder: Path) -> int:
    """The step of a checkpoint that verifies, after a check that all parts are of it."""
    loaded = load(folder)
    step = loaded.step
    expected = snapshot(step)
    assert loaded.state == expected.state
    for tensors, others in ((loaded.weights, expected.weights), (loaded.optimizer, expected.optimizer)):
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[name], other) for name, other in others.items())
    return step


QUICK_SCENES = {"the first one", "the best is kept", "over a damaged one", "after a killed save"}


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(scene, id=name, marks=[] if name in QUICK_SCENES else pytest.mark.slow)
        for name, scene in SCENES.items()
    ],
)
def test_a_crash_at_any_file_operation_leaves_the_old_or_the_new_one(
    scene: Scene, context: ForkServerContext, tmp_path: Path
) -> None:
    scene.prepare(tmp_path / "template")
    operations, codes = save_and_crash(context, tmp_path, scene)
    assert codes == [0, *([CRASHED] * len(operations))]
    valid_before = set(scene.there) - set(scene.damaged)
    found = set()
    for crash_at, operation in enumerate(["no", *operations], start=-1):
        folder = tmp_path / f"crash-{crash_at}"
        store = CheckpointStore(folder, keep=scene.keep, identity={})
        newest = store.load_newest()
        assert newest is not None or not valid_before, f"nothing valid after a crash before {operation}"
        if newest is not None:
            found.add(is_of_one_step(newest[0]))
        if scene.protected is not None:
            assert is_of_one_step(folder / f"step-{scene.protected:08d}") == scene.protected
        save_again(store, scene, folder)
    assert found == {*([max(valid_before)] if valid_before else []), scene.step}
    if scene.step not in valid_before:
        halves = {name.rpartition(" ")[2] for name in operations if name.startswith("half of")}
        assert halves == {WEIGHTS, OPTIMIZER, STATE, MANIFEST}
        assert {"fsync", "os.rename", "os.mkdir"} <= {name.split()[0] for name in operations}


def save_again(store: CheckpointStore, scene: Scene, folder: Path) -> None:
    """The save after a crash is as if nothing had happened."""
    store.protected_step = scene.protected
    store.save(snapshot(99))
    assert store.wait() is None
    kept = set(list_checkpoints(folder))
    assert max(kept) == 99
    assert len(kept) <= scene.keep + (scene.protected is not None)
    assert not list(folder.glob(".*"))


# --- fault 3 ------------------------------------------------------------------------------------------------


def damage(folder: Path, kind: str, file: str, chance: random.Random) -> None:
    """Change one file of a checkpoint."""
    victim = folder / file
    content = bytearray(victim.read_bytes())
    if kind == "flip":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del content[chance.randrange(len(content)) :]
    elif kind == "extend":
        content += chance.randbytes(chance.randint(1, 64))
    elif kind == "overwrite":
        start = chance.randrange(len(content))
        length = chance.randint(1, 64)
        before = bytes(content)
        content[start : start + length] = chance.randbytes(len(content[start : start + length]))
        if bytes(content) == before:
            content[start] ^= 1
    elif kind == "empty":
        content.clear()
    elif kind == "exchange":  # for the file of the other checkpoint
        content = bytearray((folder.parent / "step-00000001" / file).read_bytes())
    victim.unlink()
    if kind == "folder":
        victim.mkdir()
    elif kind != "delete":
        victim.write_bytes(content)


@pytest.mark.parametrize("file", [WEIGHTS, OPTIMIZER, STATE, MANIFEST])
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("flip", 30),
        ("truncate", 10),
        ("extend", 10),
        ("overwrite", 10),
        *((kind, 1) for kind in ("empty", "delete", "folder", "exchange")),
        pytest.param("flip", 3000, marks=pytest.mark.slow),
        pytest.param("truncate", 1000, marks=pytest.mark.slow),
        pytest.param("extend", 1000, marks=pytest.mark.slow),
        pytest.param("overwrite", 1000, marks=pytest.mark.slow),
    ],
)
def test_every_damage_is_found_and_the_newest_valid_one_used(
    kind: str, count: int, file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, keep=2, identity={})
    for step in (1, 2):
        store.save(snapshot(step))
        assert store.wait() is None
    newest, whole = tmp_path / "step-00000002", tmp_path / "whole"
    shutil.copytree(newest, whole)
    chance = random.Random(f"{kind} {file}")
    for _ in range(count):
        damage(newest, kind, file, chance)
        caplog.clear()
        found = store.load_newest()
        assert found is not None
        assert is_of_one_step(found[0]) == 1
        assert str(newest) in caplog.text
        assert str(found[0]) in caplog.text
        shutil.rmtree(newest)
        shutil.copytree(whole, newest)
    assert is_of_one_step(newest) == 2


def test_a_checkpoint_of_parts_of_two_is_found(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2, identity={})
    for step in (1, 2):
        store.save(snapshot(step))
        store.wait()
    shutil.copy(tmp_path / "step-00000001" / MANIFEST, tmp_path / "step-00000002" / MANIFEST)
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "step-00000002")
