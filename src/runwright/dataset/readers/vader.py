"""The human-rated sentiment text inside the source archive of vaderSentiment 3.3.2.

Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text",
ICWSM 2014. 4,200 tweets, 3,708 product-review, 10,605 movie-review and 5,190 news snippets in English, each
with the mean of at least 20 human ratings from -4 to 4. MIT licence.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from runwright import store
from runwright.dataset.readers.raw import RawSplit, kept_rows
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

_log = logging.getLogger(__name__)
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_SNIPPETS = {"products": "amazonReview", "movies": "movieReview", "news": "nytEditorial"}
_FILES = {"tweets": "tweets"} | {domain: f"{name}Snippets" for domain, name in _SNIPPETS.items()}
_TYPES = dict.fromkeys(("id", "domain", "text", "rating", "label"), pa.string()) | {"rating": pa.float64()}
_SCHEMA = pa.schema(_TYPES)
_PIP_SECONDS = 600


def read_vader(
    *,
    domains: list[Literal["tweets", "products", "movies", "news"]],
    negative_at_most: float,
    positive_at_least: float,
    archive: str | None,
) -> Splits:
    """One split, `train`, with columns id, domain, text, rating and label, domain by domain in file order.

    label is negative where rating <= negative_at_most, positive where rating >= positive_at_least, else
    neutral. The paper calls scores within -0.05 to 0.05 on a scale from -1 to 1 neutral: -0.2 to 0.2 here.
    `archive` is a copy of the source archive; null fetches it once through pip's configured index.
    """
    if not domains or not set(domains) <= set(_FILES) or len(set(domains)) < len(domains):
        raise ConfigError(
            f"dataset.source.domains: expected some of {list(_FILES)}, each once, got {domains}"
        )
    content = _verified(store.local_path(archive)) if archive else fetch_archive()
    key = {"reader": "vader", "sha256": SHA256, "options": [domains, negative_at_most, positive_at_least]}
    return kept_rows(key, lambda: {"train": _read(content, domains, negative_at_most, positive_at_least)})


def fetch_archive() -> bytes:
    """The verified source archive, from the cache or else through pip."""
    archive = store.cache_root() / "archives" / ARCHIVE
    with store.locked(archive):
        if not archive.is_file() or store.file_sha256(archive) != SHA256:
            _log.info("fetching the VADER text (2.4 MB) through pip, once")
            _download(archive)
        return _verified(archive)


def _download(archive: Path) -> None:
    """Let pip, with whatever index and proxy it is set up for, fetch the one archive with this hash."""
    # This Python's pip; where it has none, as in environments made by other tools, the one on the path.
    other = shutil.which("pip") if importlib.util.find_spec("pip") is None else None
    pip = [other] if other else [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        requirements = Path(folder) / "requirements.txt"
        archive_alone = f"--no-binary vaderSentiment\nvaderSentiment==3.3.2 --hash=sha256:{SHA256}\n"
        requirements.write_text(archive_alone, encoding="utf-8")
        # pip checks the hash before it runs the archive's setup.py for its metadata, which it insists on.
        options = "--quiet --no-input --disable-pip-version-check --no-deps --require-hashes"
        try:
            subprocess.run(  # noqa: S603 - fixed arguments
                [*pip, "download", *options.split(), "--dest", folder, "--requirement", str(requirements)],
                capture_output=True,
                text=True,
                timeout=_PIP_SECONDS,
                check=True,
            )
            (Path(folder) / ARCHIVE).replace(archive)
        except (OSError, subprocess.SubprocessError) as error:
            output = str(getattr(error, "stderr", None) or error).strip().splitlines()
            first = next((line for line in output if "error" in line.lower()), output[0])
            advice = "check pip's index settings, or get the source archive of vaderSentiment 3.3.2 elsewhere"
            problem = f"pip could not fetch this archive ({first.strip()[:300]}); {advice}"
            raise DataError(f"{problem} and set dataset.source.archive to its path", file=ARCHIVE) from error


def _verified(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the archive cannot be read: {error.strerror}", file=str(path)) from error
    if (sha256 := hashlib.sha256(content).hexdigest()) != SHA256:
        problem = "damaged, or not the source archive of vaderSentiment 3.3.2"
        raise DataError(f"{problem}: expected sha256 {SHA256}, given {sha256}", file=str(path))
    return content


def _read(content: bytes, domains: list[Any], low: float, high: float) -> RawSplit:
    batches: list[pa.RecordBatch] = []
    files: list[tuple[str, int]] = []
    # Straight from the archive inside the archive; nothing is unpacked to disk.
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as outer,
        tarfile.open(fileobj=outer.extractfile(_INNER)) as inner,
    ):
        for domain in domains:
            name = f"{_FILES[domain]}_GroundTruth.txt"
            stream = inner.extractfile(f"hutto_ICWSM_2014/{name}")
            assert stream is not None, name  # the archive's hash was checked: its files are known
            rows = [line.split("\t", 2) for line in stream.read().decode("utf-8").split("\r\n") if line]
            ids, ratings, texts = map(list, zip(*rows, strict=True))
            values = [float(rating) for rating in ratings]
            labels = ["negative" if v <= low else "positive" if v >= high else "neutral" for v in values]
            files.append((f"{ARCHIVE}:{name}", len(rows)))
            columns = [ids, [domain] * len(rows), texts, values, labels]
            batches.append(pa.record_batch(columns, schema=_SCHEMA))
    lines = [line for _, num_rows in files for line in range(1, num_rows + 1)]
    return RawSplit(schema=_SCHEMA, batches=batches, about={"files": files}, numbers=lines)
