"""Resume a run with its own configuration, changed only where that leaves it the same run."""

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runwright.config.options import TARGET
from runwright.config.permissions import granted
from runwright.config.redaction import Redactor, conceal, keep_references, reveal
from runwright.errors import CheckpointError, ConfigError, Mistake, raise_if_any, shown
from runwright.runs import folder as folders
from runwright.runs.states import read_holder
from runwright.store import flatten, read_json, write_text

RESUMES_FILE = "resumes.jsonl"
LENGTHS = tuple(f"trainer.{name}" for name in ("max_epochs", "max_steps", "early_stopping_patience"))
CHANGEABLE = (
    *LENGTHS,
    *("trainer.log_every_steps", "trainer.evaluate_every_steps", "trainer.evaluate_every_epochs"),
    *("trainer.save_every_steps", "trainer.save_every_epochs", "trainer.keep_checkpoints"),
    *("trainer.num_threads", "tracker", "launch", "log", "resume", "card", "hub"),
)
# Effect on the numbers of each part of a run's identity that is not as before.
CONSEQUENCES = {
    **dict.fromkeys(("num_processes", "strategy"), "sums over processes are rounded in another order"),
    "num_threads": "sums within an operation are rounded in another order",
    "device": "other devices compute other last digits",
    "torch": "another version may compute other last digits",
    "runwright": "another version may do another thing",
}


def with_overrides(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of a run with overrides on top of its own.

    Its own config.yaml counts, not today's files that it was composed from. References stand for secrets.
    Raises ConfigError where the overrides are wrong.
    """
    from omegaconf import DictConfig

    from runwright.config.compose import all_mistakes, put_on_top
    from runwright.config.folders import GLOBAL_GROUPS, find_conf_folders
    from runwright.config.overrides import parse_overrides
    from runwright.config.targets import GROUPS

    conf, stored = find_conf_folders(), folders.read_config(folder / folders.CONFIG_FILE)
    recorded = recorded_overrides(folder)
    repeated = {text for text in recorded if override_key(text) in GLOBAL_GROUPS}
    parsed, mistakes = parse_overrides([text for text in overrides if text not in repeated], conf)
    raise_if_any([*mistakes, *conf.shadows()])
    seeds = dict.fromkeys((f"seeds.{name}" for name in stored.get("seeds", {})), "${seed}")
    base = _with_interpolations(stored, folders.read_run(folder).get("interpolations") or seeds)
    choices = [str(choice.input_line) for choice in parsed.choices]
    base = _with_choices(base, choices, recorded) if choices else base
    # Of an export of a model by name: its own settings, whichever strategy is chosen.
    own = read_json(folder / folders.EXPORT_FILE).get("decoding", {})
    if own and "generation" in map(override_key, choices):
        options = base.get("generation") or {}
        options |= {name: own[name] for name in options.keys() & own.keys()}
    config = DictConfig(base, flags={"struct": True})
    composed = put_on_top(config, parsed.values)
    # An export of a model by name has neither data nor what trains.
    idle = set() if stored.get("dataset") else {"dataset", *GROUPS.keys() - stored.keys()}
    mistakes = all_mistakes(replace(composed, config=reveal(composed.config, but="tracker")))
    raise_if_any([mistake for mistake in mistakes if mistake.key.partition(".")[0] not in idle])
    return conceal(composed.config)


def _with_interpolations(stored: Mapping[str, Any], texts: Mapping[str, str]) -> Any:
    """The configuration with the interpolations it was composed with, where they still give its values."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    values, config = flatten(stored), OmegaConf.create(keep_references(stored))
    for key, text in texts.items():
        if key in values:
            OmegaConf.update(config, key, text)
            with suppress(OmegaConfBaseException):
                if OmegaConf.select(config, key) == values[key]:
                    continue
            OmegaConf.update(config, key, values[key])  # set to another value by a resume
    return OmegaConf.to_container(config, resolve=False)


def _with_choices(base: Mapping[str, Any], choices: Sequence[str], recorded: Sequence[str]) -> dict[str, Any]:
    """The unresolved configuration with options of groups as today's files have them.

    A group whose option the run has already stays as the run has it.
    """
    from runwright.config.compose import compose

    after, before = (compose(texts, shadow=True) for texts in (choices, recorded))
    if not before.choices:  # the files that the run was composed from have changed since
        before = compose(shadow=True)
    patched = dict(base)
    for choice in choices:
        key = override_key(choice)
        group = key.partition("/")[0]
        if choice.startswith("~"):
            patched.pop(group, None)
            continue
        if group not in after.unresolved:  # an experiment, say, or what cannot be read
            expected = "an option of one group; another experiment is a new run"
            raise_if_any(after.mistakes or [Mistake(choice, "a change of the whole run", expected)])
        leaves = (flatten({group: config.get(group)}).items() for config in (base, after.unresolved))
        old, new = ({name: value for name, value in side if name.endswith(TARGET)} for side in leaves)
        if old != new or after.choices.get(key) != before.choices.get(key):
            patched[group] = after.unresolved[group]
    return patched


def change_config(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of an existing run with overrides on top; nothing is written.

    Raises ConfigError, naming each key with both values, where a change would make it another run.
    """
    config = with_overrides(folder, overrides)
    stored = folders.read_config(folder / folders.CONFIG_FILE)
    values, mistakes = flatten(stored), []
    for key, (old, new) in differences(stored, config).items():
        is_folder = key in folders.SOURCES and isinstance(new, str) and Path(new).expanduser().is_dir()
        # What lies at a place is compared by its content once it is read.
        if not (is_changeable(key) or is_folder or folders.LOCATION_KEY.match(key)):
            change = f"{shown(new)} to go on with a run that has {shown(values.get(key, old))}"
            mistakes.append(Mistake(key, change, "no change", "without --resume it is a new run"))
    raise_if_any(mistakes)
    return config


@contextmanager
def resuming(folder: Path, config: Mapping[str, Any] | None) -> Iterator[None]:
    """Give a run that is resumed its configuration and record what changed; None: a run that begins.

    Where the run refuses to resume, which leaves its record as it is, the configuration is put back.
    """
    if config is None:
        yield
        return
    runs = {run.resolve(): record for run, record in folders.whole_runs(folder.parents[1]).items()}
    if folder in folders.find_copies(runs):  # what a copy does is not its original's, in MLflow too
        folders.update_status(folder, runs[folder]["status"], run_id=uuid.uuid4().hex)
        (folder / "mlflow.json").unlink(missing_ok=True)
    record = (folder / folders.RUN_FILE).read_bytes()
    files = [file for name in (folders.CONFIG_FILE, RESUMES_FILE) if (file := folder / name).is_file()]
    before = {file: file.read_text(encoding="utf-8") for file in files}
    if changed := differences(folders.read_config(folder / folders.CONFIG_FILE), config):
        folders.write_config(folder, config)
    record_resume(folder, changed)
    try:
        yield
    finally:
        if (folder / folders.RUN_FILE).read_bytes() == record:
            (folder / RESUMES_FILE).unlink(missing_ok=True)
            for file, text in before.items():
                write_text(file, text)


def record_resume(folder: Path, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Note in the run's folder who resumes it, when, and what is different from now on."""
    record = {
        "time": time.time(),
        **folders.this_process(),
        "command": sys.argv,
        "changed": {key: list(values) for key, values in changed.items()},
    }
    with (folder / RESUMES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(Redactor().value(record), ensure_ascii=False, default=str) + "\n")


def find_unfinished(config: Mapping[str, Any]) -> Path | None:
    """The newest run of the same configuration, where it did not finish; what may change is not compared.

    One that was killed when it had finished, but MLflow perhaps lacked its end, counts too.
    """
    for folder, record in reversed(folders.whole_runs(config["output_dir"]).items()):
        if folder.parent.name != config["name"] or record.get("format") != folders.FORMAT:
            continue
        try:
            stored = folders.read_config(folder / folders.CONFIG_FILE)
        except ConfigError as error:
            folders.logger.warning("left out: %s", error)
            continue
        if comparable(stored) == comparable(settled(config, stored)):
            # A lock that was not given back: the process was killed, or is still at it.
            return folder.resolve() if record["status"] != "FINISHED" or read_holder(folder) else None
    return None


def settled(config: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the microbatch that the run of `stored` found, in place of `auto`."""
    trainer = dict(config["trainer"])
    if trainer["microbatch_tokens"] == "auto":
        trainer["microbatch_tokens"] = stored.get("trainer", {}).get("microbatch_tokens")
    return {**config, "trainer": trainer}


def why_finished(folder: Path, config: Mapping[str, Any]) -> str:
    """The reason why a run has nothing left to do with this configuration, with what continues it."""
    record, trainer = folders.read_run(folder), config["trainer"]
    end = record.get("end") or {"reason": "length"}
    changed = differences(folders.read_config(folder / folders.CONFIG_FILE), config).keys() - {"resume"}
    if record["status"] != "FINISHED" or changed or granted().changed_data:
        return ""
    at = f" at step {end['step']} of {end['steps']}" if "step" in end else ""
    longer = "trainer.max_epochs=N" if trainer["max_steps"] is None else "trainer.max_steps=N"
    if end["reason"] == "early_stopping":
        longer = f"trainer.early_stopping_patience=N (it was {trainer['early_stopping_patience']}), or null"
    return (
        f"run {folder}: finished{at}, nothing is left to do; to make it longer: --resume {folder} {longer}; "
        "a new run: without --resume"
    )


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a configuration that may not change when a run is resumed."""
    return {key: value for key, value in flatten(config).items() if not is_changeable(key)}


def is_changeable(key: str) -> bool:
    """Return True if a run stays the same run with another value of this key."""
    shared = key.startswith("dataset.") and key.endswith(".num_processes")
    return shared or any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new value of each key that differs; None where there is no such key."""
    old, new = flatten(before), flatten(after)
    keys = [key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]]
    parents = {key.rpartition(".")[0] for key in keys}  # an empty mapping that is filled is no change itself
    return {key: (old.get(key), new.get(key)) for key in keys if key not in parents}


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Reasons why a resumed run will not be bit-identical; CheckpointError where it must not resume."""
    if saved.get("config", now["config"]) != now["config"]:
        raise CheckpointError(
            f"{folders.CONFIG_FILE} is not the one that the checkpoint was made with: it was changed by hand."
            " Change it back; `runwright train --resume RUN key=value` changes what may change"
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


def recorded_overrides(folder: Path) -> list[str]:
    from omegaconf import OmegaConf

    file = folder / folders.OVERRIDES_FILE
    return [str(text) for text in OmegaConf.load(file)] if file.is_file() else []


def override_key(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=1`."""
    return override.partition("=")[0].lstrip("+~")


def config_hash(config: Mapping[str, Any]) -> str:
    """A hash of everything in the configuration that must stay as it is when a run is resumed."""
    others = ("name", "output_dir", *folders.SOURCES)  # whose files are compared in other ways
    relevant = {
        key: value
        for key, value in comparable(config).items()
        if key not in others and not folders.LOCATION_KEY.match(key)
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]
