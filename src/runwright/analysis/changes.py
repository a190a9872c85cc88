"""Changes around two runs: settings, source files, rows, models, packages, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runwright.errors import listed

# Named first: packages that compute the numbers.
NUMERIC = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "datasets", "safetensors", "peft")
HARDWARE = {"cpu": "processor", "gpus": "GPUs", "num_torch_threads": "threads"}
MAX_PACKAGES = 10


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `what` is config, source, data, model, package, machine or commit."""

    what: str
    text: str
    matters: bool = True  # False: no number depends on it

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Differences of two records of provenance; a field that only one of them has is no difference."""
    yield from _source_changes(before, now)
    yield from _package_changes(before["packages"], now["packages"])
    facts = [("python", before["python"]["version"], now["python"]["version"])]
    facts += [(HARDWARE[key], before["hardware"][key], now["hardware"][key]) for key in HARDWARE]
    facts += [("processes", before.get("num_processes"), now.get("num_processes"))]
    for name, old, new in facts:
        if old is not None and new is not None and old != new:
            yield Change("machine", f"{name} {_plain(old)} → {_plain(new)}")
    if before["folder"] != now["folder"]:
        yield Change("machine", f"started in {now['folder']}, not in {before['folder']}", matters=False)
    old, new = ((record["git"] or {}).get("commit") for record in (before, now))
    if old and new and old != new:
        yield Change("commit", f"{old[:12]} → {new[:12]}", matters=False)


def model_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Files of the model or tokenizer that have another content."""
    for group in before.keys() & now.keys():
        old, new = before[group]["files"], now[group]["files"]
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if names and old and new:
            yield Change("model", f"other files of the {group}: {listed(names)}")


def _source_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for package in before.get("code", {}).keys() & now.get("code", {}).keys():
        old, new = before["code"][package], now["code"][package]
        edits = {
            "edited": [name for name in old if name in new and old[name] != new[name]],
            "new": [name for name in new if name not in old],
            "gone": [name for name in old if name not in new],
        }
        for word, names in edits.items():
            if names:
                yield Change("source", f"{word}: {listed(f'{package}/{name}' for name in names)}")


def _package_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    names.sort(key=lambda name: (name.lower() not in NUMERIC, name.lower()))
    for name in names[:MAX_PACKAGES]:
        yield Change("package", f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}")
    if len(names) > MAX_PACKAGES:
        yield Change("package", f"and {len(names) - MAX_PACKAGES} more")


def _plain(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
