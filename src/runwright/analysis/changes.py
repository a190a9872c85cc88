"""What is different around two runs: settings, source files, rows, models, packages, machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.errors import shown
from runwright.runs.resume import differences

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


def model_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Files of the model or tokenizer that have another content."""
    changes = []
    for part in before.keys() & now.keys():
        named = _different(before[part]["files"], now[part]["files"])
        if named and before[part]["files"] and now[part]["files"]:
            changes.append(Change(what="model", text=f"other files of the {part}: {_some(named)}"))
    return changes


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


def _plain(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def read_json(file: Path) -> dict[str, Any]:
    """What a file of a run says; nothing where the run is older than it."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
