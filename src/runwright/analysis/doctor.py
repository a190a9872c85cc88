"""Checks of `runwright doctor`: torch, runs that died, stores, metrics that were not uploaded; bug reports.

An archive for a bug report has no data, no weights, and no secrets.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import yaml

from runwright.config.redaction import MASK, Redactor, redact
from runwright.errors import TrackingError, listed
from runwright.runs.folder import whole_runs
from runwright.runs.states import find_dead, is_busy, mark
from runwright.store import json_text, written_whole
from runwright.tracker.mlflow.store import Store, client_settings, locate, probe, require_tables
from runwright.tracker.mlflow.upload import read_state, unsent_bytes

TIMEOUT_SECONDS = 5.0
LOCKED_SECONDS = 2.0  # a run writes for some 50 ms at a time


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check of the installation."""

    level: Literal["ok", "warning", "problem"]
    what: str  # the subject of the check, in a word or two
    text: str  # its state
    advice: str = ""  # empty where nothing is wrong


def examine(output_dir: Path, *, fix: bool) -> Iterator[Finding]:
    """All checks in the order of the report; with `fix`, runs that died are marked KILLED or FAILED."""
    yield _check_torch()
    runs = list(whole_runs(output_dir))  # which names those that cannot be read
    yield from _check_dead_runs(output_dir, len(runs), fix=fix)
    yield from _check_stores(output_dir, runs)
    tracked = {run: unsent_bytes(run) for run in runs if "run" in read_state(run)}
    lacking = (run for run, stores in tracked.items() if not stores or any(stores.values()))
    if unsent := [run.name for run in lacking if not is_busy(run)]:
        text = f"{len(unsent)} of {len(tracked)} tracked runs are not wholly uploaded ({listed(unsent)})"
        yield Finding("warning", "uploads", text, "runwright sync --all")
    else:
        yield Finding("ok", "uploads", f"all {len(tracked)} tracked runs are wholly uploaded")


def _check_torch() -> Finding:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        text = f"cannot be imported: {(str(error).splitlines() or [''])[0]}"
        return Finding("problem", "torch", text, "install it anew: `make setup` in a checkout")
    if torch.cuda.is_available():
        names = listed(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("ok", "torch", f"{torch.__version__}, GPU: {names}")
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        text = f"{torch.__version__} does not see this machine's GPU"
        advice = "install a build of torch for its CUDA driver (nvidia-smi shows the version)"
        return Finding("warning", "torch", text, advice)
    return Finding("ok", "torch", f"{torch.__version__}, no GPU: runs use the CPU")


def _check_dead_runs(output_dir: Path, num_runs: int, *, fix: bool) -> Iterator[Finding]:
    if not (deaths := find_dead(output_dir)):
        yield Finding("ok", "runs", f"{num_runs} in {output_dir}, none of them died without a record")
    for death in deaths:
        name = f"{death.folder.parent.name}/{death.folder.name}"
        if not fix:
            yield Finding("problem", "run", f"{name}: {death.reason}", "runwright doctor --fix marks it")
            continue
        try:
            text = f"marked {death.status}" if mark(death) else "is running again"
            yield Finding("ok", "run", f"{name}: {text}: {death.reason}")
        except (OSError, ValueError) as error:
            text = f"{name}: cannot be marked ({error})"
            yield Finding("problem", "run", text, "free some space, or ask its owner")


def _check_stores(output_dir: Path, runs: Sequence[Path]) -> Iterator[Finding]:
    try:
        default = locate(None, artifacts=None, output_dir=output_dir)
    except TrackingError as error:
        yield Finding("problem", "store", str(error), "change MLFLOW_TRACKING_URI")
        return
    stores = {redact(default.uri): default}
    for uri in {uri: None for folder in runs for uri in unsent_bytes(folder)}:
        if uri not in stores and MASK not in uri:  # without its password nobody answers
            stores[uri] = locate(uri, artifacts=None, output_dir=output_dir)
    yield from map(check_store, stores.values())


def check_store(store: Store) -> Finding:
    """Check that the store answers, is whole, of this MLflow's version, and not locked."""
    shown, file = redact(store.uri), store.file
    if file is None:
        if not (trouble := probe(store, timeout_seconds=TIMEOUT_SECONDS)):
            return Finding("ok", "store", f"{shown} answers")
        advice = "start the server; until then runs keep everything, and runwright sync --all sends it later"
        return Finding("problem", "store", f"{shown}: {trouble}", advice)
    if not file.exists():
        return Finding("ok", "store", f"{shown} does not exist yet: the first run creates it")
    try:
        with client_settings():
            require_tables(store, locked_seconds=LOCKED_SECONDS)
    except TrackingError as error:
        text, _, advice = str(error).partition(": ")
        return Finding("problem", "store", text, advice)
    return Finding("ok", "store", f"{shown}, {file.stat().st_size / 2**20:.1f} MiB")


FILES = (
    *("run.json", "config.yaml", "overrides.yaml", "resumes.jsonl", "provenance*.json", "models.json"),
    *("data.json", "summary.json", "log.txt", "traceback.txt", "workers/*"),
)
MAX_CHARACTERS = 2_000_000  # of a file, from its end: there is what went wrong


def write_bundle(folder: Path, file: Path) -> list[str]:
    """Write texts about a run, and the findings of `runwright doctor`, to a zip file; their names.

    Secrets are masked as everywhere, and the home folder is `~`. Links are not followed.
    """
    redactor, home = Redactor(), str(Path.home())
    findings = examine(folder.parent.parent, fix=False)
    texts = {"doctor.json": json_text([asdict(finding) for finding in findings])}
    for path in sorted(path for pattern in FILES for path in folder.glob(pattern)):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            name = str(path.relative_to(folder))
            texts[name] = path.read_text(encoding="utf-8", errors="backslashreplace")
    with written_whole(file) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            with suppress(ValueError, yaml.YAMLError):  # a torn file is a text
                if name.endswith(".json"):
                    text = json_text(redactor.value(json.loads(text)))
                elif name.endswith(".yaml"):
                    text = yaml.safe_dump(redactor.value(yaml.safe_load(text)), sort_keys=False)
            masked = redactor.text(text)[-MAX_CHARACTERS:]
            archive.writestr(f"{folder.name}/{name}", masked.replace(home, "~") if len(home) > 1 else masked)
    return list(texts)
