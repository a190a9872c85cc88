"""`runwright doctor --bundle RUN`: one archive for a bug report, without data, weights and secrets."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import yaml

from runwright.analysis.doctor import examine
from runwright.config.redaction import Redactor
from runwright.store import json_text, written_whole

FILES = (
    *("run.json", "config.yaml", "overrides.yaml", "resumes.jsonl", "provenance*.json", "models.json"),
    *("data.json", "summary.json", "log.txt", "traceback.txt", "workers/*"),
)
MAX_CHARACTERS = 2_000_000  # of a file, from its end: there is what went wrong


def write_bundle(folder: Path, file: Path) -> list[str]:
    """Write texts about a run, and the findings of `runwright doctor`, to a zip file; their names.

    Secrets are masked as everywhere, and the home folder is `~`. Links are not followed.
    """
    redactor, home, names = Redactor(), str(Path.home()), []
    with written_whole(file) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _texts(folder):
            with suppress(ValueError, yaml.YAMLError):  # a torn file is a text
                if name.endswith(".json"):
                    text = json_text(redactor.value(json.loads(text)))
                elif name.endswith(".yaml"):
                    text = yaml.safe_dump(redactor.value(yaml.safe_load(text)), sort_keys=False)
            masked = redactor.text(text)[-MAX_CHARACTERS:]
            archive.writestr(f"{folder.name}/{name}", masked.replace(home, "~") if len(home) > 1 else masked)
            names.append(name)
    return names


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    findings = examine(folder.parent.parent, fix=False)
    yield "doctor.json", json_text([asdict(finding) for finding in findings])
    for path in sorted(path for pattern in FILES for path in folder.glob(pattern)):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            yield str(path.relative_to(folder)), path.read_text(encoding="utf-8", errors="backslashreplace")
