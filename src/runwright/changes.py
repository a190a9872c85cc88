"""What is different around two runs: settings, source files, rows, models, packages, machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runwright.dataset.row_hashes import RowHashes
from runwright.mistakes import shown
from runwright.resuming import differences

MAX_LISTED = 10
# Named first: what computes the numbers.
NUMERIC = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "datasets", "safetensors", "peft")
HARDWARE = {"cpu": "processor", "gpus": "GPUs", "num_torch_threads": "threads"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference; `what` is config, source, data, model, package, machine or commit."""

    what: str
    text: str
    matters: bool = True  # whether the numbers may depend on it

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


def config_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Each key with another value."""
    found = differences(before, now)
    return [
        Change(what="config", text=f"{key} {shown(old)} → {shown(new)}") for key, (old, new) in found.items()
    ]


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """What differs between two records of provenance; what only one of them says is no difference."""
    return [
        *_source_changes(before, now),
        *_package_changes(before["packages"], now["packages"]),
        *_machine_changes(before, now),
        *_commit_changes(before["git"] or {}, now["git"] or {}),
    ]


def row_changes(
    before: Mapping[str, str],
    now: Mapping[str, str],
    rows_before: Mapping[str, RowHashes],
    rows_now: Mapping[str, RowHashes],
) -> list[Change]:
    """Which rows of which split are others; the first two arguments are the splits' fingerprints."""
    changes = []
    for split in {**before, **now}:
        if split not in now or split not in before:
            text = f"{split} is {'gone' if split not in now else 'new'}"
        elif before[split] == now[split]:
            continue
        elif split in rows_before and split in rows_now:
            text = f"{split}: {_row_text(rows_before[split], rows_now[split])}"
        else:
            text = f"{split}: other rows (fingerprint {before[split][:12]} → {now[split][:12]})"
        changes.append(Change(what="data", text=text))
    return changes


def model_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Files of the model or tokenizer that have another content."""
    changes = []
    for part in before.keys() & now.keys():
        named = _different(before[part]["files"], now[part]["files"])
        if named and before[part]["files"] and now[part]["files"]:
            changes.append(Change(what="model", text=f"other files of the {part}: {_some(named)}"))
    return changes


def _row_text(before: RowHashes, now: RowHashes) -> str:
    was = dict(zip(before.row_ids.tolist(), before.hashes.tolist(), strict=True))
    is_now = dict(zip(now.row_ids.tolist(), now.hashes.tolist(), strict=True))
    changed = [row for row in was if row in is_now and was[row] != is_now[row]]
    added = [row for row in is_now if row not in was]
    gone = [row for row in was if row not in is_now]
    if len(changed) > 1 and len(was) != len(is_now):  # inserted or removed: those behind it only moved
        new_content = [row for row in is_now if is_now[row] not in set(was.values())]
        old_content = [row for row in was if was[row] not in set(is_now.values())]
        changed, added, gone = [], new_content, old_content
    parts = [("changed", changed), ("added", added), ("gone", gone)]
    texts = [f"{_count(rows, 'row')} {word}: row_id {_some(sorted(rows))}" for word, rows in parts if rows]
    if texts:
        return "; ".join(texts)
    same_order = np.array_equal(before.row_ids, now.row_ids)
    return "other columns or types of the same values" if same_order else "the same rows in another order"


def _source_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    known: set[str] = set()
    for package in before.get("code", {}).keys() & now.get("code", {}).keys():
        one, other = before["code"][package], now["code"][package]
        known |= {f"{package}/{name}" for name in {*one, *other}}
        for word, names in _edits(one, other):
            yield Change(what="source", text=f"{word}: {_some([f'{package}/{name}' for name in names])}")
    # Files outside of those packages: scripts, say. They are named, but hardly anything depends on them.
    for word, names in _edits(_worktree(before), _worktree(now)):
        others = [name for name in names if not any(name.endswith(each) for each in known)]
        if others:
            yield Change(what="source", text=f"{word}: {_some(others)}", matters=False)


def _edits(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    found = [
        ("edited", [name for name in one if name in other and one[name] != other[name]]),
        ("new", [name for name in other if name not in one]),
        ("gone", [name for name in one if name not in other]),
    ]
    return [(word, names) for word, names in found if names]


def _worktree(found: Mapping[str, Any]) -> dict[str, str]:
    """What differs from the commit, by file: a hash of the difference, or of an untracked file."""
    diff = (found["git"] or {}).get("diff", "")
    sections = re.split(r'(?m)^diff --git "?a/.*? "?b/(.*?)"?$', diff)[1:]  # quotes: around odd names
    texts = dict(zip(sections[::2], sections[1::2], strict=True))
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()} | {
        name: digest for name, digest in found["untracked"].items() if name.endswith(".py")
    }


def _package_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    named = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    named.sort(key=lambda name: (name.lower() not in NUMERIC, name.lower()))
    texts = [f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}" for name in named]
    changes = [Change(what="package", text=text) for text in texts[:MAX_LISTED]]
    if len(texts) > MAX_LISTED:
        changes.append(Change(what="package", text=f"and {len(texts) - MAX_LISTED} more"))
    return changes


def _machine_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    facts = [("python", before["python"]["version"], now["python"]["version"])]
    facts += [(HARDWARE[key], before["hardware"][key], now["hardware"][key]) for key in HARDWARE]
    facts += [("processes", before.get("num_processes"), now.get("num_processes"))]
    for name, old, new in facts:
        if old is not None and new is not None and old != new:
            yield Change(what="machine", text=f"{name} {_plain(old)} → {_plain(new)}")
    if before["folder"] != now["folder"]:
        text = f"started in {now['folder']}, not in {before['folder']}"
        yield Change(what="machine", text=text, matters=False)


def _commit_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    old, new = before.get("commit"), now.get("commit")
    if old != new and old and new:
        yield Change(what="commit", text=f"{old[:12]} → {new[:12]}", matters=False)


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _some(names: Iterable[object]) -> str:
    texts = [str(name) for name in names]
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(texts[:MAX_LISTED]) + more


def _count(things: list[Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _plain(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def read_json(file: Path) -> dict[str, Any]:
    """What a file of a run says; nothing where the run is older than it."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
