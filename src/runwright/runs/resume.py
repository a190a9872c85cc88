"""Going on with a run: with its own configuration, changed only where that leaves the run the same run."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runwright.config.secrets import conceal, reveal
from runwright.errors import CheckpointError, Mistake, raise_if_any, shown
from runwright.runs.folder import (
    CONFIG_FILE,
    FORMAT,
    OVERRIDES_FILE,
    find_runs,
    read_config,
    read_run,
    start_order,
    write_config,
)
from runwright.store import flatten

RESUMES_FILE = "resumes.jsonl"
CHANGEABLE = (
    *("trainer.max_epochs", "trainer.max_steps", "trainer.max_minutes"),
    *("trainer.log_every_steps", "trainer.evaluate_every_steps", "trainer.evaluate_every_epochs"),
    *("trainer.save_every_steps", "trainer.save_every_epochs", "trainer.keep_checkpoints"),
    *("trainer.num_threads", "tracker", "launch", "resume"),
)
# What each part of a run's identity means for the numbers when it is another one than before.
CONSEQUENCES = {
    "num_processes": "sums over processes are rounded in another order",
    "strategy": "sums over processes are rounded in another order",
    "num_threads": "sums within an operation are rounded in another order",
    "device": "other devices compute other last digits",
    "torch": "another version may compute other last digits",
    "runwright": "another version may do another thing",
}


def change_config(folder: Path, overrides: Sequence[str], *, allow_shadow: bool = False) -> None:
    """Apply overrides to the configuration of an existing run; what changes is written down.

    Raises ConfigError, naming each key with both values, where a change would make it another run.
    """
    from runwright.config.compose import all_mistakes, compose

    recorded = [
        text
        for text in recorded_overrides(folder)
        if override_key(text) not in set(map(override_key, overrides))
    ]
    before = compose(recorded_overrides(folder), allow_shadow=allow_shadow)
    if before.mistakes:  # the files it was composed from have changed since
        recorded, before = [], compose([], allow_shadow=allow_shadow)
    after = compose([*recorded, *overrides], allow_shadow=allow_shadow)
    raise_if_any(all_mistakes(after))
    stored = read_config(folder / CONFIG_FILE)
    config = conceal(after.config)
    changed = differences(conceal(before.config), config)
    raise_if_any(
        [
            Mistake(
                key=key,
                given=f"{shown(new)} to go on with a run that has {shown(_value(stored, key, old))}",
                expected="no change",
                hint="without --resume it is a new run",
            )
            for key, (old, new) in changed.items()
            if not is_changeable(key)
        ]
    )
    adopt(folder, merge(stored, config, changed))


def adopt(folder: Path, config: Mapping[str, Any]) -> None:
    """Make this the configuration of an existing run, if it differs, and write down what changed.

    References stand for its secrets, as in the folder's own.
    """
    from runwright.config.schema import check

    stored = read_config(folder / CONFIG_FILE)
    changed = differences(stored, config)
    assert all(map(is_changeable, changed)), changed
    if changed:
        raise_if_any(check(reveal(config)))
        write_config(folder, merge(stored, config, changed))
    record_resume(folder, changed)


def record_resume(
    folder: Path, changed: Mapping[str, tuple[Any, Any]], *, data: Mapping[str, Any] | None = None
) -> None:
    """Note in the run's folder who goes on with it, when, and what is different from now on.

    `data` holds a step and what is different about the data from there on.
    """
    from runwright.config.redaction import Redactor

    record = {
        "time": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": sys.argv,
        "changed": {key: list(values) for key, values in changed.items()},
        **({"data": data} if data else {}),
    }
    with (folder / RESUMES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(Redactor().value(record), ensure_ascii=False, default=str) + "\n")


def find_unfinished(config: Mapping[str, Any]) -> Path | None:
    """The newest run of the same configuration, where it did not finish; what may change is not compared."""
    wanted = comparable(config)
    same_name = [run for run in find_runs(config["output_dir"]) if run.parent.name == config["name"]]
    for folder in sorted(same_name, key=start_order, reverse=True):
        record = read_run(folder)
        if record.get("format") == FORMAT and comparable(read_config(folder / CONFIG_FILE)) == wanted:
            return folder.resolve() if record["status"] != "FINISHED" else None
    return None


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a configuration that may not change while a run goes on."""
    return {key: value for key, value in flatten(config).items() if not is_changeable(key)}


def is_changeable(key: str) -> bool:
    """Whether a run stays the same run with another value of this key."""
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new value of each key that differs; None where there is no such key."""
    old, new = flatten(before), flatten(after)
    keys = [key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]]
    return {key: (old.get(key), new.get(key)) for key in keys}


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why the run will not go on bit for bit, one reason each; raises CheckpointError where it must not.

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


def _value(config: Mapping[str, Any], key: str, default: Any) -> Any:
    return flatten(config).get(key, default)


def config_hash(config: Mapping[str, Any]) -> str:
    """A hash of everything in the configuration that must stay as it is while a run goes on."""
    relevant = {key: value for key, value in comparable(config).items() if key not in ("name", "output_dir")}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]
