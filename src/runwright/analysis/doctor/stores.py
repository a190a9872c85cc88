"""Where runs are tracked: there, whole, of this version, not locked; and what they lack."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runwright.analysis.doctor.findings import Finding, size
from runwright.config.redaction import MASK, redact
from runwright.errors import TrackingError
from runwright.runs.lock import is_busy
from runwright.tracker.mlflow.settling import unsent_bytes
from runwright.tracker.mlflow.sqlite_file import LOCKED_ADVICE, find_fault
from runwright.tracker.mlflow.store import Store, client_settings, locate, probe
from runwright.tracker.mlflow.upload import read_state

TIMEOUT_SECONDS = 5.0
LOCKED_SECONDS = 2.0  # a run writes for some 50 ms at a time
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "beegfs",
    "gpfs",
    "9p",
    "fuse.sshfs",
    "ceph",
}


def check_stores(output_dir: Path, runs: Sequence[Path]) -> Iterator[Finding]:
    """The store that new runs use, and those of the runs that are there."""
    try:
        default = locate(None, artifacts=None, output_dir=output_dir)
    except TrackingError as error:
        yield Finding(level="problem", what="store", text=str(error), advice="change MLFLOW_TRACKING_URI")
        return
    seen = {redact(default.uri): default}
    for folder in runs:
        for uri in unsent_bytes(folder):
            if uri not in seen and MASK not in uri:  # without its password nobody answers
                seen[uri] = locate(uri, artifacts=None, output_dir=output_dir)
    for store in seen.values():
        yield check_store(store)


def check_store(store: Store) -> Finding:
    """Whether a store takes runs."""
    shown = redact(store.uri)
    if store.file is not None:
        return _check_file(store.file, shown)
    trouble = probe(store, timeout_seconds=TIMEOUT_SECONDS)
    if trouble:
        advice = "start the server; until then runs keep everything, and runwright sync --all sends it later"
        return Finding(level="problem", what="store", text=f"{shown}: {trouble}", advice=advice)
    return Finding(level="ok", what="store", text=f"{shown} answers")


def check_unsent(runs: Sequence[Path]) -> Finding:
    """How many runs MLflow lacks something of; those at work are left out."""
    tracked = [folder for folder in runs if "run" in read_state(folder)]
    missing = unsynced(tracked)
    if missing:
        some = ", ".join(folder.name for folder in missing[:3]) + (" …" if len(missing) > 3 else "")
        return Finding(
            level="warning",
            what="uploads",
            text=f"MLflow lacks something of {len(missing)} of {len(tracked)} runs ({some})",
            advice="runwright sync --all",
        )
    return Finding(level="ok", what="uploads", text=f"MLflow has all of {len(tracked)} runs")


def unsynced(runs: Sequence[Path]) -> list[Path]:
    """The runs that were to be tracked and are not wholly uploaded; those at work are left out."""
    found = []
    for folder in runs:
        if "run" not in read_state(folder):
            continue
        lacking = unsent_bytes(folder)
        if (not lacking or any(lacking.values())) and not is_busy(folder):
            found.append(folder)
    return found


def _check_file(file: Path, shown: str) -> Finding:
    if not file.exists():
        return Finding(level="ok", what="store", text=f"{shown} is not there yet: the first run makes it")
    with client_settings():
        fault = find_fault(file, address=shown, locked_seconds=LOCKED_SECONDS)
    if fault is not None:
        return Finding(level="problem", what="store", text=fault[0], advice=fault[1])
    if _is_locked(file):
        return Finding(level="problem", what="store", text=f"{file} is locked", advice=LOCKED_ADVICE)
    system = _file_system(file)
    if system in NETWORK_FILE_SYSTEMS:
        advice = "locks are not safe there: tracker.uri= a server or a database, or sqlite on a local disk"
        return Finding(level="warning", what="store", text=f"{shown} is on {system}", advice=advice)
    return Finding(level="ok", what="store", text=f"{shown}, {size(file.stat().st_size)}")


def _is_locked(file: Path) -> bool:
    """Whether nobody can write for longer than a run does."""
    connection = sqlite3.connect(file, timeout=0, isolation_level=None)
    until = time.monotonic() + LOCKED_SECONDS
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    return False  # read-only, for one: the disk's check says so
                if time.monotonic() > until:
                    return True
                time.sleep(0.05)
            else:
                return False
    finally:
        connection.close()


def _file_system(file: Path) -> str:
    """The kind of file system a file is on; empty where the system does not say."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    around = [
        (len(place), kind)
        for place, kind in mounts
        if file.resolve().is_relative_to(place.replace("\\040", " "))
    ]
    return max(around, default=(0, ""))[1]
