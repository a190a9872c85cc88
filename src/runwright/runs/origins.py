"""Provenance of a run, written into its folder: code, environment, data sets, files of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runwright.config.permissions import granted
from runwright.runs.folder import read_run
from runwright.store import write_json
from runwright.tracker.provenance import collect, tags
from runwright.tracker.source_files import code_folders, copy_sources, hash_model
from runwright.types import Tracker

PROVENANCE_FILE = "provenance.json"
MODELS_FILE = "models.json"
SOURCE_FOLDER = "source"


def surroundings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Code, packages, machine and seeds that a run of this configuration would have here and now."""
    code = code_folders(granted().packages, conf=Path.cwd() / "conf")
    outputs = Path(config["output_dir"]).expanduser().resolve()
    return {**collect(code=code, but=outputs), "seeds": config["seeds"]}


def record_origin(folder: Path, config: Mapping[str, Any], *, num_processes: int, tracker: Tracker) -> None:
    """Record the provenance of a run that starts, and tell its tracker.

    That of its first start is never rewritten: a run that is resumed writes provenance-2.json.
    """
    record: dict[str, Any] = {**surroundings(config), "num_processes": num_processes}
    file, number = folder / PROVENANCE_FILE, 2
    while file.exists():
        file, number = folder / f"provenance-{number}.json", number + 1
    write_json(file, record)
    source, git = folder / SOURCE_FOLDER, record["git"]
    root = Path(git["root"]) if git and not source.exists() else None
    if root and copy_sources(record["untracked"], root=root, folder=source):
        tracker.log_artifact(source)
    tracker.log_artifact(file)
    original = read_run(folder).get("reproduces")
    tracker.log_tags(tags(record) | ({"runwright.reproduces": original} if original else {}))


def record_inputs(config: Mapping[str, Any], data: Any, *, tracker: Tracker) -> None:
    """Tell the tracker which data sets the run reads."""
    profiles = {line["split"]: {"rows": line["rows"], "columns": line["columns"]} for line in data.table()}
    files = sorted({file for files in data.sources.values() for file in files})
    source = config["dataset"].get("source")
    target = source.get("_target_", "") if isinstance(source, Mapping) else config["dataset"]["_target_"]
    reader = str(target).rpartition(".")[2].removeprefix("read_") or "rows"  # `csv` for `read_csv`
    tracker.log_inputs(
        [
            {
                "name": f"{reader}/{split}",
                "digest": digest,
                "source": data.sources.get(split) or files,
                "profile": profiles.get(split, {}),  # nobody has counted the rows of a stream
                "context": split,
            }
            for split, digest in data.fingerprints.items()
        ]
    )


def find_models(config: Mapping[str, Any], *, cache: Path) -> dict[str, Any]:
    """Sources of model and tokenizer, and the sha256 of each of their files."""
    nodes = {group: config.get(group) for group in ("model", "tokenizer")}
    return {
        group: hash_model(node["name"], revision=node.get("revision"), cache=cache)
        for group, node in nodes.items()
        if isinstance(node, Mapping) and isinstance(node.get("name"), str)
    }
