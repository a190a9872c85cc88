"""The data that a run was trained on, as its folder records it, compared with the data of today.

Rows and what the task learned of them are compared, never paths: a file may be moved or renamed.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runwright.config.options import walk
from runwright.config.permissions import granted
from runwright.dataset import fingerprint
from runwright.dataset.fingerprint import FILE_NAME, RowRecord, read_trained, row_changes
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.addresses import file_fingerprint
from runwright.errors import CheckpointError, listed, shown
from runwright.runs.resume import differences
from runwright.store import local_path, read_json, write_json
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import UNREPEATABLE, read_curves
from runwright.trainer.checkpoint import list_checkpoints
from runwright.trainer.ranks import Ranks

DATA_FILE = "data.json"
EDITED = "files with other content: "
MAX_FILES = 1000  # of more (a text in each, say) none is recorded: rows are compared in any case


# --- what is recorded -------------------------------------------------------------------------------------


def record_data(
    folder: Path, config: Mapping[str, Any], data: LoadedData, task: Any, *, changed: bool
) -> Path:
    """Write data.json and rows.npz; the first. `changed`: the run was trained on other data before."""
    before = read_json(folder / DATA_FILE).get("fingerprints")
    if before != data.fingerprints or not (folder / FILE_NAME).is_file():
        before = read_trained(folder) if changed else None
        fingerprint.write_row_hashes(folder, data.splits, trained_before=before)
    record = {name: getattr(data, name) for name in ("fingerprints", "notes", "warnings", "sources")}
    record["columns"] = {split: rows.column_names for split, rows in data.splits.items()}
    record |= {"learned": task.state_dict(), "files": _hash_files(config, data)}
    write_json(folder / DATA_FILE, record)
    return folder / DATA_FILE


def recorded_rows(folder: Path) -> RowRecord:
    record, hashes = read_json(folder / DATA_FILE), fingerprint.read_row_hashes(folder)
    columns = record.get("columns", {})
    return RowRecord(fingerprints=record.get("fingerprints", {}), columns=columns, hashes=hashes)


def rows_of(data: LoadedData, *, splits: Iterable[str]) -> RowRecord:
    """The rows of loaded data; hashes of single rows in these splits only, since they take time."""
    hashed = ((split, fingerprint.hash_rows(data.splits[split])) for split in splits)
    hashes = {split: values for split, values in hashed if values is not None}
    columns = {split: rows.column_names for split, rows in data.splits.items()}
    return RowRecord(fingerprints=data.fingerprints, columns=columns, hashes=hashes)


def other_splits(data: LoadedData, fingerprints: Mapping[str, str]) -> list[str]:
    """The loaded splits whose rows are not those of the fingerprints; a stream is none of them."""
    return [split for split in data.splits if data.fingerprints[split] != fingerprints.get(split)]


def has_begun(folder: Path) -> bool:
    """Return True if a run has trained on its data: it has a checkpoint or a metric."""
    if list_checkpoints(folder / "checkpoints"):
        return True
    journal = folder / JOURNAL_FILE
    return journal.is_file() and any(not name.startswith(UNREPEATABLE) for name in read_curves(journal))


# --- resuming ---------------------------------------------------------------------------------------------


def check_data(
    folder: Path, config: Mapping[str, Any], ranks: Ranks, data: LoadedData, task: Any
) -> list[str]:
    """Changes of the data of a run that has begun; CheckpointError on all ranks if the user allows none."""
    changes = data_changes(folder, config, data, task) if has_begun(folder) else []
    allowed = granted().changed_data
    refused = "\n  ".join(changes)
    if changes and allowed:  # the weights must fit all the same
        states = read_json(folder / DATA_FILE).get("learned", {}), task.state_dict()
        old, new = (len(state.get("label_names", ())) for state in states)
        refused = f"{new} classes, and the model has {old}" if old and old != new else ""
    if reasons := next(filter(None, ranks.gather(refused.encode())), b""):
        ways = "Bring the old data back; or begin a new run (without --resume, or with resume=null)"
        flag = "; or go on with the data of today, which the run then records: --allow-changed-data"
        raise CheckpointError(
            f"{folder}: the data is not what the run was trained on:\n  {reasons.decode()}\n"
            + (ways if allowed else ways + flag)
        )
    return changes


def data_changes(folder: Path, config: Mapping[str, Any], data: LoadedData, task: Any) -> list[str]:
    """Changes of the rows of each split and of what the task learned, then the files that changed."""
    record = read_json(folder / DATA_FILE)
    if (before := record.get("fingerprints")) is None:
        return []
    now = rows_of(data, splits=other_splits(data, before))
    changes = [f"{split}: {text}" for split, text in row_changes(recorded_rows(folder), now).items()]
    learned = json.loads(json.dumps(task.state_dict()))
    states = [
        # members of lists are compared one by one
        {name: dict(enumerate(value)) if isinstance(value, list) else value for name, value in state.items()}
        for state in (record.get("learned", learned), learned)
    ]
    if changed := differences(*states):
        texts = (f"{name} {shown(old)} → {shown(new)}" for name, (old, new) in changed.items())
        changes.append(f"what the task learned: {listed(texts)}")
    if not changes and data.stream is None:
        return []
    edited = _edited(record.get("files", {}), _hash_files(config, data))
    if data.stream is not None:  # what cleans it shows in no fingerprint: nobody has read its rows yet
        cleaning = {str(_file(text)) for text in _texts(config["dataset"].get("cleaning"))}
        changes += [f"train: rows are cleaned by another {name}" for name in edited if name in cleaning]
    return [*changes, EDITED + listed(edited)] if changes and edited else changes


def _edited(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the files whose content no recorded file has; files that only moved are none of them."""
    return [name for name, content in now.items() if before and content not in before.values()]


def _hash_files(config: Mapping[str, Any], data: LoadedData) -> dict[str, str]:
    """A hash of each file that rows, cleaning steps and the task were read from; a hub's commit as it is."""
    sources = {name for names in data.sources.values() for name in names}
    sources = sources if len(sources) <= MAX_FILES else set()
    files = {name: _file(name) for name in (*sources, *_texts([config["dataset"], config["task"]]))}
    hashes = {name: name for name in sources if files[name] is None}
    return hashes | {str(path): file_fingerprint(path) for path in sorted(filter(None, files.values()))}


def _texts(value: Any) -> Iterator[str]:
    return (text for _, text in walk(value) if isinstance(text, str))


def _file(name: str) -> Path | None:
    """The file of this name; of a part of a combination, the one behind the part's name."""
    paths = map(local_path, (name, name.rpartition(": ")[2]))
    return next(filter(os.path.isfile, paths), None)  # a text that is no path raises nothing


# --- evaluating -------------------------------------------------------------------------------------------


def evaluation_warnings(
    folder: Path, config: Mapping[str, Any], data: LoadedData, splits: Sequence[str], *, own: bool
) -> dict[str, str]:
    """Warnings about the rows that a run is evaluated on, by split; splits as in training are left out.

    `own`: they are meant to be the run's own, so that other ones are named. Rows of train always are.
    """
    before = recorded_rows(folder)
    others = [split for split in other_splits(data, before.fingerprints) if split in splits]
    now = rows_of(data, splits=others)
    changes = row_changes(before, now) if own and before.fingerprints else {}
    files = read_json(folder / DATA_FILE).get("files", {})
    edited = _edited(files, _hash_files(config, data)) if changes else []
    held_out = any((config["dataset"].get("holdout") or {}).values())
    trained, warnings = read_trained(folder) if others else np.empty(0, np.uint64), {}
    for split in others:
        is_hashed = split in now.hashes and "train" in before.hashes
        if not own and held_out and not (is_hashed and {*now.columns[split]} == {*before.columns["train"]}):
            problem = "is held out of rows that cannot be compared with train: some may be in both"
            warnings[split] = f"the split {problem}"
            continue
        earlier = {"train": trained}
        if own:
            earlier |= {name: rows["hash"] for name, rows in before.hashes.items() if name != "train"}
        hashes, counts = now.hashes[split]["hash"] if split in now.hashes else trained[:0], []
        total = len(hashes)
        if own and split in earlier:  # rows that the split had itself
            hashes = hashes[~np.isin(hashes, earlier.pop(split))]
        for name, others_hashes in earlier.items():  # a row of several splits is counted once
            inside = np.isin(hashes, others_hashes)
            hashes = hashes[~inside]
            if inside.any():
                counts.append(f"{inside.sum()}{'' if counts else f' of its {total} rows were'} in {name}")
        texts = [", ".join(counts), changes.get(split, ""), EDITED + listed(edited) if edited else ""]
        if any(texts):
            warnings[split] = "; ".join(filter(None, texts))
    return warnings
