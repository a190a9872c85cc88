"""Where a run comes from, written into its folder: code, environment, data by row, files of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runwright.config.permissions import granted
from runwright.config.redaction import redact
from runwright.runs.folder import read_run
from runwright.store import cache_root, write_json
from runwright.tracker.provenance import collect, tags
from runwright.tracker.source_files import code_folders, copy_sources, hash_model
from runwright.types import Tracker

PROVENANCE_FILE = "provenance.json"
MODELS_FILE = "models.json"
SOURCE_FOLDER = "source"


def surroundings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Code, packages, machine and seeds that a run of this configuration would have here and now."""
    code = code_folders(granted().packages, conf=Path.cwd() / "conf")
    found = collect(code=code, but=Path(config["output_dir"]).expanduser().resolve())
    return {**found, "seeds": config["seeds"]}


def record_origin(folder: Path, config: Mapping[str, Any], *, num_processes: int, tracker: Tracker) -> None:
    """Write down what surrounds a run that starts, and tell its tracker.

    What it began with is never rewritten: a run that goes on writes provenance-2.json.
    """
    found: dict[str, Any] = {**surroundings(config), "num_processes": num_processes}
    file, number = folder / PROVENANCE_FILE, 2
    while file.exists():
        file, number = folder / f"provenance-{number}.json", number + 1
    write_json(file, found)
    source = folder / SOURCE_FOLDER
    if found["git"] is not None and not source.exists():
        copied = copy_sources(found["untracked"], root=Path(found["git"]["root"]), folder=source)
        if copied:
            tracker.log_artifact(source)
    tracker.log_artifact(file)
    original = read_run(folder).get("reproduces")
    tracker.log_tags(tags(found) | ({"runwright.reproduces": original} if original else {}))


def record_inputs(config: Mapping[str, Any], data: Any, *, tracker: Tracker) -> None:
    """Tell the tracker which data sets the run reads."""
    profiles = {line["split"]: {"rows": line["rows"], "columns": line["columns"]} for line in data.table()}
    everything = sorted({file for files in data.sources.values() for file in files})
    tracker.log_inputs(
        [
            {
                "name": f"{_reader(config)}/{split}",
                "digest": digest,
                "source": data.sources.get(split) or everything,
                "profile": profiles.get(split, {}),  # nobody has counted the rows of a stream
                "context": split,
            }
            for split, digest in data.fingerprints.items()
        ]
    )


def record_models(folder: Path, config: Mapping[str, Any], *, tracker: Tracker) -> None:
    """Write down the files that model and tokenizer were read from; they must be there by now."""
    write_json(folder / MODELS_FILE, redact(find_models(config, cache=cache_root())))
    tracker.log_artifact(folder / MODELS_FILE)


def find_models(config: Mapping[str, Any], *, cache: Path) -> dict[str, Any]:
    """Where model and tokenizer are read from, and the sha256 of each file there."""
    return {
        part: hash_model(name, revision=config[part].get("revision"), cache=cache)
        for part, name in _names(config, ("model", "tokenizer"))
    }


def _names(config: Mapping[str, Any], parts: Iterable[str]) -> list[tuple[str, str]]:
    named = [(part, config[part].get("name")) for part in parts if isinstance(config.get(part), Mapping)]
    return [(part, name) for part, name in named if isinstance(name, str)]


def _reader(config: Mapping[str, Any]) -> str:
    """What the reader of the rows is called: `csv` for `read_csv`."""
    source = config["dataset"].get("source")
    target = source.get("_target_", "") if isinstance(source, Mapping) else config["dataset"]["_target_"]
    return str(target).rpartition(".")[2].removeprefix("read_") or "rows"
