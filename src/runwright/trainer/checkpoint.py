"""Checkpoints that are whole or not there, verified when read, written while training goes on.

A checkpoint is a folder that appears by one rename. Its files are written and synced beside it, the manifest
(sha256 of each file, and of itself) last. Older ones go only after the new one has been read back and found
right. Nothing in it is executed when it is loaded: safetensors and JSON.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from runwright.errors import CheckpointError
from runwright.store import file_sha256, folder_whole, json_text, write_json

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
PREFIX = "step-"
FREE_SPACE_FACTOR = 1.05  # file systems need a little more than the bytes that are written
MANIFEST = "manifest.json"
WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All of a training state at one step boundary, copied: training may go on while it is written."""

    step: int
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]  # see sharding.py
    state: Mapping[str, Any]  # JSON


@dataclass
class CheckpointStore:
    """The checkpoints of one run; one process writes.

    `keep` newest ones stay, and the one at `protected_step`, the best. `identity` is what a resumed run is
    compared with: config hash, versions, threads, number of processes.
    """

    folder: Path
    _: KW_ONLY
    keep: int
    identity: Mapping[str, Any]
    protected_step: int | None = None
    seconds: float = 0.0  # that training waited for
    _writer: threading.Thread | None = None
    _failure: CheckpointError | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Start writing in the background; waits for the one before it."""
        self.wait()
        self._writer = threading.Thread(target=self._write_safely, args=(snapshot,), name="checkpoint")
        self._writer.start()

    def wait(self) -> CheckpointError | None:
        """Until nothing is being written; the failure of the last save, if it failed.

        A failed save is logged and the run goes on: the older one is there, the next interval tries again.
        """
        if self._writer:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        return failure

    def _write_safely(self, snapshot: Snapshot) -> None:
        try:
            self._remove_leftovers()  # first: they may hold the space that is needed
            self._write(snapshot)
            self.remove_old(snapshot.step)
        except Exception as error:  # whatever it is: training goes on, and the next save tries again
            self._failure = CheckpointError(
                f"checkpoint of step {snapshot.step} was not written to {self.folder}: {error}; it needs "
                f"{_num_bytes(snapshot):,} bytes, {_free_bytes(self.folder):,} are free. Older checkpoints "
                "are untouched; the next save tries again"
            )
            foreseen = isinstance(error, OSError | CheckpointError | SafetensorError)
            logger.error("%s", self._failure, exc_info=None if foreseen else error)  # noqa: TRY400

    def _write(self, snapshot: Snapshot) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"{PREFIX}{snapshot.step:08d}"
        if final.exists() and is_valid(final):
            return  # stopped before the first step of a resumed run: the same state, perhaps the only one
        needed, free = int(FREE_SPACE_FACTOR * _num_bytes(snapshot)), _free_bytes(self.folder)
        if free < needed:
            raise CheckpointError(f"{needed:,} bytes needed, {free:,} free")
        with folder_whole(final) as partial:  # in place of a damaged one, where there is an older one
            weights, aliases = without_tied(snapshot.weights)
            save_file(weights, partial / WEIGHTS)
            save_file(dict(snapshot.optimizer), partial / OPTIMIZER)
            write_json(partial / STATE, {**snapshot.state, "tied": aliases})
            files = {
                file.name: {"sha256": file_sha256(file), "bytes": file.stat().st_size}
                for file in sorted(partial.iterdir())
            }
            manifest = {"format_version": FORMAT_VERSION, "step": snapshot.step, "files": files}
            manifest["identity"] = dict(self.identity)
            write_json(partial / MANIFEST, {**manifest, "sha256": _hash_of(manifest)})
            for path in (*partial.iterdir(), partial):
                _sync(path)
        _sync(self.folder)
        verify(final)

    def remove_old(self, step: int) -> None:
        """Keep, of the checkpoints up to this step, as many as are to stay."""
        # Newer ones than the one just written are damaged, since the run went on from an older one: they must
        # not count as kept.
        checkpoints = [older for older in list_checkpoints(self.folder).items() if older[0] <= step]
        for older, folder in checkpoints[: -self.keep]:
            if older != self.protected_step:
                # renamed first: a removal that is cut short leaves no half checkpoint under a valid name
                folder.replace(self.folder / f".{folder.name}.{os.getpid()}.removed")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for leftover in self.folder.glob(f".{PREFIX}*"):  # of saves and removals that were cut short
            shutil.rmtree(leftover, ignore_errors=True)

    def load_newest(self) -> tuple[Path, Snapshot] | None:
        """The newest checkpoint that verifies; damaged ones are passed over with a warning.

        None where there is no checkpoint at all; CheckpointError where all are damaged.
        """
        damaged: list[str] = []
        for folder in reversed(list_checkpoints(self.folder).values()):
            try:
                snapshot = load(folder)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            if damaged:
                logger.warning("passed over %s; using %s", "; ".join(damaged), folder)
            return folder, snapshot
        if damaged:
            raise CheckpointError(f"no valid checkpoint in {self.folder}: " + "; ".join(damaged))
        return None


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """Checkpoint folders by step, oldest first; nothing is verified."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    steps = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return {int(step): folder / f"{PREFIX}{step}" for step in sorted(filter(str.isdecimal, steps), key=int)}


def verify(folder: Path) -> dict[str, Any]:
    """The manifest; raises CheckpointError naming the first file that is not as it was written."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        is_as_written = text == json_text(manifest)  # to the last line end
        expected = manifest.pop("sha256")
        if not is_as_written or _hash_of(manifest) != expected:
            raise CheckpointError(f"{folder}: {MANIFEST} is damaged")
        if (version := manifest["format_version"]) != FORMAT_VERSION:
            raise CheckpointError(f"{folder}: format {version}, this version reads {FORMAT_VERSION}")
        files = {name: (record["bytes"], record["sha256"]) for name, record in manifest["files"].items()}
        dict(manifest["identity"], step=int(manifest["step"]))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST} cannot be read ({error})") from error
    for name, state in files.items():
        file = folder / Path(name).name
        try:
            is_whole = (file.stat().st_size, file_sha256(file)) == state
        except OSError as error:  # missing, or on a sector that the disk no longer reads
            raise CheckpointError(f"{folder}: {name} cannot be read ({error})") from error
        if not is_whole:
            raise CheckpointError(f"{folder}: {name} is damaged")
    return manifest


def is_valid(folder: Path) -> bool:
    with suppress(CheckpointError):
        return bool(verify(folder))
    return False


def load(folder: Path) -> Snapshot:
    """A verified checkpoint, on the CPU; raises CheckpointError where it does not verify."""
    manifest = verify(folder)
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        weights, optimizer = load_file(folder / WEIGHTS), load_file(folder / OPTIMIZER)
        weights |= {alias: weights[name] for alias, name in state.pop("tied").items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{folder}: what it holds is no checkpoint ({reason})") from error
    return Snapshot(step=manifest["step"], weights=weights, optimizer=optimizer, state=state)


def read_identity(folder: Path) -> dict[str, Any]:
    """The identity of the run that wrote a checkpoint, which was verified before."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["identity"]


def without_tied(weights: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor once, and the other names of those that have several: `{alias: name}`."""
    untied: dict[str, torch.Tensor] = {}
    owners: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in weights.items():
        key = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        if tensor.numel() and key in owners:
            aliases[name] = owners[key]
        else:
            owners[key] = name
            untied[name] = tensor.contiguous()
    return untied, aliases


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _num_bytes(snapshot: Snapshot) -> int:
    return sum(tensor.nbytes for tensor in [*snapshot.weights.values(), *snapshot.optimizer.values()])


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free if folder.exists() else 0
