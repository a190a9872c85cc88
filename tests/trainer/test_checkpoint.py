"""Checkpoints: whole or not there, damage is found, the newest valid one is used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from runwright.errors import CheckpointError
from runwright.trainer import checkpoint
from runwright.trainer.checkpoint import CheckpointStore, Snapshot, list_checkpoints, load, without_tied
from runwright.trainer.sharding import copy_weights


def snapshot(step: int) -> Snapshot:
    tied = torch.full((4, 3), float(step))
    return Snapshot(
        step=step,
        weights={"a": tied, "b": torch.arange(6.0), "c": tied},
        optimizer={"a|exp_avg": torch.full((4, 3), step / 2)},
        state={"training": {"step": step}, "note": "é"},
    )


def store(folder: Path, *, keep: int = 2, steps: tuple[int, ...] = ()) -> CheckpointStore:
    made = CheckpointStore(folder, keep=keep, identity={"threads": 1})
    for step in steps:
        made.save(snapshot(step))
        assert made.wait() is None
    return made


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    found = store(tmp_path, steps=(7,)).load_newest()
    assert found is not None
    folder, loaded = found
    assert (folder.name, loaded.step) == ("step-00000007", 7)
    assert all(torch.equal(loaded.weights[name], value) for name, value in snapshot(7).weights.items())
    assert torch.equal(loaded.optimizer["a|exp_avg"], torch.full((4, 3), 3.5))
    assert loaded.state == {"training": {"step": 7}, "note": "é"}


def test_retention_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    kept = store(tmp_path, keep=2)
    for step in range(1, 6):
        kept.protected_step = 2
        kept.save(snapshot(step))
    kept.wait()
    assert list(list_checkpoints(tmp_path)) == [2, 4, 5]
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_damaged_newer_one_does_not_count_as_kept(tmp_path: Path) -> None:
    store(tmp_path, keep=9, steps=(4, 8))
    (tmp_path / "step-00000008" / checkpoint.WEIGHTS).write_bytes(b"")
    found = store(tmp_path, keep=1, steps=(6,)).load_newest()
    assert found is not None
    assert (found[1].step, list(list_checkpoints(tmp_path))) == (6, [6, 8])
    again = store(tmp_path, keep=1, steps=(8,)).load_newest()  # in its place
    assert again is not None
    assert (again[1].step, list(list_checkpoints(tmp_path))) == (8, [8])


def test_all_is_on_the_disk_before_a_checkpoint_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, fsync = tmp_path / "step-00000003", os.fsync
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, final.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    store(tmp_path, steps=(3,))
    files = [checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE, checkpoint.MANIFEST]
    assert {(name, False) for name in (*files, f".{final.name}.partial")} <= {*synced}
    assert synced[-1] == (tmp_path.name, True)  # the name itself


@pytest.mark.parametrize(
    "file", [checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE, checkpoint.MANIFEST]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
def test_every_damage_is_found_and_the_older_one_used(
    file: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = store(tmp_path, steps=(1, 2))
    victim = list_checkpoints(tmp_path)[2] / file
    content = bytearray(victim.read_bytes())
    if damage == "delete":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 1
        victim.write_bytes({"flip": content, "truncate": content[:-1], "empty": b""}[damage])
    found = kept.load_newest()
    assert found is not None
    assert found[1].step == 1
    assert "step-00000002" in caplog.text
    assert "step-00000001" in caplog.text


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    kept = store(tmp_path, steps=(1,))
    (list_checkpoints(tmp_path)[1] / checkpoint.STATE).unlink()
    with pytest.raises(CheckpointError, match=r"state\.json cannot be read .*No such file"):
        kept.load_newest()
    assert CheckpointStore(tmp_path / "none", keep=1, identity={}).load_newest() is None


def test_leftovers_of_a_killed_save_are_not_checkpoints(tmp_path: Path) -> None:
    kept = store(tmp_path, steps=(1,))
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002.99.partial")
    assert list(list_checkpoints(tmp_path)) == [1]
    kept.save(snapshot(3))
    kept.wait()
    assert not list(tmp_path.glob(".step*"))


def test_a_full_disk_is_said_and_the_older_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = store(tmp_path, keep=1, steps=(1,))
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    kept.save(snapshot(2))
    failure = kept.wait()
    assert failure is not None
    for part in (str(tmp_path), "10 are free", "step 2"):
        assert part in caplog.text
    monkeypatch.undo()
    found = kept.load_newest()
    assert found is not None
    assert found[1].step == 1
    kept.save(snapshot(2))
    assert kept.wait() is None


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    store(tmp_path, steps=(1,))
    manifest = tmp_path / "step-00000001" / checkpoint.MANIFEST
    content = json.loads(manifest.read_text())
    del content["sha256"]
    content["format_version"] = 99
    checkpoint.write_json(manifest, {**content, "sha256": checkpoint._hash_of(content)})
    with pytest.raises(CheckpointError, match="format 99"):
        load(tmp_path / "step-00000001")


def reseal(folder: Path, **manifest: Any) -> None:
    """Make the hashes right again for what the files hold now."""
    file = folder / checkpoint.MANIFEST
    content = {**json.loads(file.read_text()), **manifest}
    del content["sha256"]
    if isinstance(content["files"], dict):
        for name, record in content["files"].items():
            path = folder / name
            record |= {"sha256": checkpoint.file_sha256(path), "bytes": path.stat().st_size}
    checkpoint.write_json(file, {**content, "sha256": checkpoint._hash_of(content)})


@pytest.mark.parametrize("state", [[], None, {}, {"tied": 3}, {"tied": {"b": "nothing"}}, {"tied": ["a"]}])
def test_a_state_of_wrong_types_that_was_sealed_again_is_refused(state: Any, tmp_path: Path) -> None:
    kept = store(tmp_path, steps=(1,))
    folder = tmp_path / "step-00000001"
    (folder / checkpoint.STATE).write_text(json.dumps(state))
    reseal(folder)
    with pytest.raises(CheckpointError, match="what it holds is no checkpoint"):
        kept.load_newest()


@pytest.mark.parametrize(
    "change", [{"files": []}, {"files": {}, "step": "one"}, {"identity": 3}, {"format_version": None}]
)
def test_a_manifest_of_wrong_types_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    kept = store(tmp_path, steps=(1,))
    reseal(tmp_path / "step-00000001", **change)
    with pytest.raises(CheckpointError, match=r"cannot be read|format None"):
        kept.load_newest()


def test_tied_weights_are_written_once(tmp_path: Path) -> None:
    layer, output = torch.nn.Embedding(50, 8), torch.nn.Linear(8, 50, bias=False)
    output.weight = layer.weight
    model = torch.nn.ModuleDict({"in": layer, "out": output})
    weights, aliases = without_tied(copy_weights(model))
    assert list(weights) == ["in.weight"]
    assert aliases == {"out.weight": "in.weight"}
    whole = torch.arange(4.0)
    views = {"whole": whole, "first": whole[:2], "second": whole[2:]}  # of one storage, and not the same
    assert without_tied(views)[1] == {}


def test_a_snapshot_does_not_change_with_the_model(make_task: Any, make_model: Any) -> None:
    model = make_model(make_task())
    copied = copy_weights(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert not any(torch.equal(copied[name], value) for name, value in model.named_parameters())
