"""Resume a run with its own configuration, changed only where that leaves it the same run."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor
from runwright.config.schema import check
from runwright.config.secrets import conceal, reveal
from runwright.errors import CheckpointError, Mistake, raise_if_any, shown
from runwright.runs.folder import (
    CONFIG_FILE,
    FORMAT,
    OVERRIDES_FILE,
    RUN_FILE,
    read_config,
    read_run,
    start_order,
    this_process,
    whole_runs,
    write_config,
)
from runwright.store import flatten, write_text

RESUMES_FILE = "resumes.jsonl"
CHANGEABLE = (
    *("trainer.max_epochs", "trainer.max_steps", "trainer.max_minutes"),
    *("trainer.log_every_steps", "trainer.evaluate_every_steps", "trainer.evaluate_every_epochs"),
    *("trainer.save_every_steps", "trainer.save_every_epochs", "trainer.keep_checkpoints"),
    *("trainer.num_threads", "tracker", "launch", "resume"),
)
# Effect on the numbers of each part of a run's identity that is not as before.
CONSEQUENCES = {
    "num_processes": "sums over processes are rounded in another order",
    "strategy": "sums over processes are rounded in another order",
    "num_threads": "sums within an operation are rounded in another order",
    "device": "other devices compute other last digits",
    "torch": "another version may compute other last digits",
    "runwright": "another version may do another thing",
}


def with_overrides(
    folder: Path, overrides: Sequence[str], *, allow_shadow: bool = False
) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """The configuration of a run with overrides on top of its own, and old and new value of changed keys.

    References stand for secrets. Raises ConfigError where the overrides are wrong.
    """
    from runwright.config.compose import all_mistakes, compose

    recorded = recorded_overrides(folder)
    before = compose(recorded, allow_shadow=allow_shadow)
    if before.mistakes:  # the files it was composed from have changed since
        recorded, before = [], compose([], allow_shadow=allow_shadow)
    replaced = set(map(override_key, overrides))
    remaining = [text for text in recorded if override_key(text) not in replaced]
    after = compose([*remaining, *overrides], allow_shadow=allow_shadow)
    raise_if_any(all_mistakes(after))
    config = conceal(after.config)
    changed = differences(conceal(before.config), config)
    return merge(read_config(folder / CONFIG_FILE), config, changed), changed


def change_config(folder: Path, overrides: Sequence[str], *, allow_shadow: bool = False) -> dict[str, Any]:
    """The configuration of an existing run with overrides on top; nothing is written.

    Raises ConfigError, naming each key with both values, where a change would make it another run.
    """
    config, changed = with_overrides(folder, overrides, allow_shadow=allow_shadow)
    stored = flatten(read_config(folder / CONFIG_FILE))
    raise_if_any(
        [
            Mistake(
                key=key,
                given=f"{shown(new)} to go on with a run that has {shown(stored.get(key, old))}",
                expected="no change",
                hint="without --resume it is a new run",
            )
            for key, (old, new) in changed.items()
            if not is_changeable(key)
        ]
    )
    raise_if_any(check(reveal(config)))
    return config


@contextmanager
def resuming(folder: Path, config: Mapping[str, Any] | None) -> Iterator[None]:
    """Give a run that is resumed its configuration and record what changed; None: a run that begins.

    Where the run refuses to resume, which leaves its record as it is, the configuration is put back.
    """
    if config is None:
        yield
        return
    record = (folder / RUN_FILE).read_bytes()
    files = [file for name in (CONFIG_FILE, RESUMES_FILE) if (file := folder / name).is_file()]
    before = {file: file.read_text(encoding="utf-8") for file in files}
    changed = differences(read_config(folder / CONFIG_FILE), config)
    if changed:
        write_config(folder, config)
    record_resume(folder, changed)
    try:
        yield
    finally:
        if (folder / RUN_FILE).read_bytes() == record:
            (folder / RESUMES_FILE).unlink(missing_ok=True)
            for file, text in before.items():
                write_text(file, text)


def record_resume(
    folder: Path, changed: Mapping[str, tuple[Any, Any]], *, data: Mapping[str, Any] | None = None
) -> None:
    """Note in the run's folder who resumes it, when, and what is different from now on.

    `data` holds a step and what is different about the data from there on.
    """
    record = {
        "time": time.time(),
        **this_process(),
        "command": sys.argv,
        "changed": {key: list(values) for key, values in changed.items()},
        **({"data": data} if data else {}),
    }
    with (folder / RESUMES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(Redactor().value(record), ensure_ascii=False, default=str) + "\n")


def find_unfinished(config: Mapping[str, Any]) -> Path | None:
    """The newest run of the same configuration, where it did not finish; what may change is not compared."""
    wanted = comparable(config)
    same_name = [run for run in whole_runs(config["output_dir"]) if run.parent.name == config["name"]]
    for folder in sorted(same_name, key=start_order, reverse=True):
        record = read_run(folder)
        if record.get("format") == FORMAT and comparable(read_config(folder / CONFIG_FILE)) == wanted:
            return folder.resolve() if record["status"] != "FINISHED" else None
    return None


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a configuration that may not change when a run is resumed."""
    return {key: value for key, value in flatten(config).items() if not is_changeable(key)}


def is_changeable(key: str) -> bool:
    """Return True if a run stays the same run with another value of this key."""
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new value of each key that differs; None where there is no such key."""
    old, new = flatten(before), flatten(after)
    keys = [key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]]
    return {key: (old.get(key), new.get(key)) for key in keys}


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Reasons why a resumed run will not be bit-identical; raises CheckpointError where it must not resume.

    `saved` is the identity in the checkpoint's manifest.
    """
    if saved.get("config", now["config"]) != now["config"]:
        raise CheckpointError(
            f"{CONFIG_FILE} is not the one that the checkpoint was made with: it was changed by hand. Change "
            "it back; `runwright train --resume RUN key=value` changes what may change"
        )
    if saved.get("tokenizer", now.get("tokenizer")) != now.get("tokenizer"):
        raise CheckpointError(
            "the tokenizer is not the one that the checkpoint was made with: what it numbers otherwise are "
            "other words to the model. Put the old one back (tokenizer/ in the run's folder, tokenizer.name)"
        )
    return [
        f"{name} {saved[name]} → {now[name]}: {why}"
        for name, why in CONSEQUENCES.items()
        if name in saved and saved[name] != now[name]
    ]


def merge(stored: dict[str, Any], new: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The stored configuration with the changed keys from the new one."""
    merged = copy.deepcopy(stored)
    for key in changed:
        *path, last = key.split(".")
        if path and f"{path[0]}._target_" in changed:  # another option of the group: other keys
            merged[path[0]] = copy.deepcopy(new[path[0]])
            continue
        node, source = merged, new
        for name in path:
            node, source = node[name], source[name]
        if last in source:
            node[last] = copy.deepcopy(source[last])
        else:
            del node[last]
    return merged


def recorded_overrides(folder: Path) -> list[str]:
    """The overrides that a run was composed with."""
    from omegaconf import OmegaConf

    file = folder / OVERRIDES_FILE
    return [str(text) for text in OmegaConf.load(file)] if file.is_file() else []


def override_key(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=1`."""
    return override.partition("=")[0].lstrip("+~")


def config_hash(config: Mapping[str, Any]) -> str:
    """A hash of everything in the configuration that must stay as it is when a run is resumed."""
    relevant = {key: value for key, value in comparable(config).items() if key not in ("name", "output_dir")}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]
