"""Files of splits by their address: a local path, or one that fsspec opens (https://, s3://).

For a split a user gives a file, a pattern, a folder, or a list of these; a file may be compressed.
"""

import glob
import hashlib
import io
import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec.compression

from runwright import store
from runwright.errors import ConfigError, DataError, listed, nearest

_UNPACK: Any = fsspec.compression.compr  # by name: a function from a packed stream to its content
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
PYTHON_ROWS = "python_rows"  # folder in the cache of rows that came from Python
PICKLES = (".pkl", ".pickle", ".joblib")
_LIBRARIES = ("aiohttp", "zstandard", "botocore", "httpx")  # whose errors may come while a file is read
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
# Entries that differ between two states of a remote file, as the file systems of fsspec call them.
_MARKS = (
    "ETag", "Content-MD5", "Last-Modified", "mtime", "modified", "created", "LastModified", "blob_id", "CRC",
    "md5Hash", "generation",
)  # fmt: skip
_SHARD = re.compile(r"(.*?)(\d{5})(-of-(\d{5})(?!\d)[^/]*)")  # as the hub names the files of a split
_SAMPLES = 1024  # offsets in a file, evenly from its beginning to its end, that its fingerprint is made of
_SAMPLE_BYTES = 1 << 16  # at each of them; smaller files are read whole


def is_remote(address: str) -> bool:
    """Return True if fsspec has to open it; `zip://a.csv::rows.zip` too."""
    return "://" in address


def path_of(address: str) -> PurePosixPath:
    """Folder and name of the file, without the ending of its compression or the query of an address."""
    path = PurePosixPath(urlsplit(address).path) if address.startswith("http") else PurePosixPath(address)
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSIONS else path


def files_of_splits(files: Mapping[str, str | list[str] | None], folder: str | None) -> dict[str, list[str]]:
    """The files of each split, in a fixed order; splits given as null are left out."""
    root = folder if folder and is_remote(folder) else store.local_path(folder or ".")
    if isinstance(root, Path) and not root.is_dir():
        raise DataError(f"no such folder (looked in {root.absolute()})", file=folder)
    by_split = {split: _files(split, value, root) for split, value in files.items() if value is not None}
    if not by_split:
        raise ConfigError("dataset.source.files: no split has a file; set for example files.train=PATH")
    return by_split


def require_files(value: Any) -> list[str]:
    """Local files that a configuration of data names; raises the error of a reader where one is missing."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    named = list(chain(*map(require_files, inner)))
    match value:
        case {"_target_": _, "files": Mapping() as files} if not is_remote(str(value.get("folder"))):
            lists = {split: [of] if isinstance(of, str) else of or [] for split, of in files.items()}
            local = {split: [name for name in names if not is_remote(name)] for split, names in lists.items()}
            if any(lists.values()) is any(local.values()):
                given = {s: files[s] if names == [files[s]] else names or None for s, names in local.items()}
                named += chain(*files_of_splits(given, value.get("folder")).values())
    return named


def _files(split: str, value: str | list[str], root: Path | str) -> list[str]:
    patterns = [value] if isinstance(value, str) else value
    if not (paths := [str(path) for pattern in patterns for path in _expand(split, pattern, root)]):
        raise DataError("the list of files is empty", split=split)
    if pickled := [path for path in paths if path_of(path).suffix.lower() in PICKLES]:
        raise DataError(pickle_problem(pickled[0]), file=pickled[0], split=split)
    if doubled := sorted(path for path, count in Counter(paths).items() if count > 1):
        raise ConfigError(f"dataset.source.files.{split}: {doubled[0]!r} is named twice; leave one out")
    if split and isinstance(value, str):  # a list names some of several on purpose
        require_shards(paths, split)
    return paths


def missing_shards(paths: Sequence[str]) -> Iterator[str]:
    """For each set of files numbered as in `00001-of-00003`, a sentence with those that are missing."""
    found = [match.groups() for match in map(_SHARD.fullmatch, paths) if match]
    for start, end, total in dict.fromkeys((start, end, int(total)) for start, _, end, total in found):
        here = {int(number) for before, number, after, _ in found if (before, after) == (start, end)}
        first = int(total in here)  # counted from 0, or from 1
        if missing := [number for number in range(first, total + first) if number not in here]:
            names = listed(f"{PurePosixPath(start).name}{number:05}{end}" for number in missing)
            yield f"{len(missing)} of {total} files are missing: {names}"


def require_shards(paths: Sequence[str], split: str) -> None:
    """Raise DataError where some of the files that a split was divided into are missing."""
    for problem in missing_shards(paths):
        way = f"list them: dataset.source.files.{split}=[…] (with dataset=parquet, csv or json)"
        problem += f"; give all, by a pattern or folder, or to read the others alone {way}"
        raise DataError(problem, file=paths[0], split=split)


def _expand(split: str, pattern: str, root: Path | str) -> Sequence[str | Path]:
    if is_remote(pattern) or isinstance(root, str):
        return _remote_files(pattern if is_remote(pattern) else f"{str(root).rstrip('/')}/{pattern}", split)
    path = root / store.local_path(pattern)
    if path.is_file():
        return [path]
    wanted = f"{glob.escape(str(path))}/**" if path.is_dir() else str(path)
    matches = list(map(Path, _matches(wanted)))
    # Links to folders are followed; where they list files again the shortest path counts.
    matches.sort(key=lambda match: len(match.parts), reverse=True)
    by_folder = {(match.parent.resolve(), match.name): match for match in matches if match.is_file()}
    if not (files := sorted(by_folder.values())):
        raise DataError(_missing(path, split, pattern), file=str(path), split=split)
    return files


def _matches(pattern: str) -> Iterator[str]:
    """Paths of a pattern; `**` is each folder below once, since links may go round in circles."""
    head, *rest = re.split(r"(?:^|/)\*\*(?=/|$)", pattern, maxsplit=1)
    queue, seen = glob.glob(head or ".") if rest else [], set[str]()  # noqa: PTH207 - absolute patterns
    for folder in queue:  # grows, the nearest first
        if (real := os.path.realpath(folder)) not in seen:
            seen.add(real)
            queue += glob.glob(f"{glob.escape(folder)}/*/")  # noqa: PTH207
            yield from _matches(glob.escape(folder) + (rest[0] or "/*"))
    yield from () if rest else glob.glob(pattern)  # noqa: PTH207


def pickle_problem(name: str) -> str:
    """The reason why a pickle is not opened, with the line that makes parquet of it."""
    target = path_of(name).with_suffix(".parquet")
    line = f'python -c "import pandas; pandas.read_pickle({name!r}).to_parquet({str(target)!r})"'
    return f"a pickle, which runs code when it is read; if you made it yourself: {line} and dataset=parquet"


def _missing(path: Path, split: str, pattern: str) -> str:
    if path.is_dir():
        return "the folder holds no files"
    if os.path.lexists(path):
        return "neither a file nor a folder: a link that leads nowhere, or a pipe, which cannot be read twice"
    if glob.has_magic(str(path)):
        return f"no file matches this pattern (looked in {Path.cwd()})"
    folder = path.parent
    if folder.parent.name == PYTHON_ROWS and store.cache_root() in path.parents:
        again = "runwright.keep_rows(data) writes it again"
        return f"rows that were given in Python as data=…, gone from the cache: with the same rows {again}"
    names = {item.stem: item.name for item in sorted(folder.glob("*"))}  # endings make all files look alike
    match = nearest(path.stem, names)
    hint = f"did you mean {names[match]!r}? " if match else ""
    here = os.path.lexists(pattern) and f"null, as {pattern} is in the working directory"
    moved = f"where it is: dataset.source.folder={here or 'PATH, or dataset.source.files.SPLIT=PATH'}"
    return f"no such file (looked in {str(folder.absolute())!r}); {hint}{moved if split else ''}".rstrip("; ")


def _remote_files(address: str, split: str) -> list[str]:
    if address.startswith("http") or "::" in address:  # no folders there, and ? begins a query
        return [address]
    try:
        system, path = fsspec.url_to_fs(address)
        inside: list[Any] = sorted(system.find(path) if system.isdir(path) else system.glob(path)) or [path]
        names = [str(system.unstrip_protocol(name)) for name in inside if system.isfile(name)]
    except Exception as error:
        raise _unreadable(address, split, error) from error
    if not names:
        raise DataError("no such file", file=address, split=split)
    return names


@contextmanager
def open_bytes(address: str, *, split: str | None = None, unpacked: bool = True) -> Iterator[BinaryIO]:
    """The content of a file, as it is stored or unpacked; raises DataError where it cannot be read."""
    is_open = False
    try:
        with _opened(address, split, unpacked=unpacked) as stream:
            is_open = True
            yield stream
    except Exception as error:
        library = type(error).__module__.split(".")[0]
        if is_open and not isinstance(error, _BROKEN) and library not in _LIBRARIES:
            raise
        raise _unreadable(address, split, error) from error


def file_state(address: str | Path) -> list[Any]:
    """Marks that differ between two states of a file, without reading it where that is possible."""
    if is_remote(str(address)):
        info = _info(str(address))
        marks = [[name, str(info[name])] for name in _MARKS if info.get(name) is not None]
        return [address, info.get("size"), marks or file_fingerprint(str(address))]
    status = Path(address).stat()
    # Labels may come from the names of a link, rows from what it leads to.
    paths = [str(Path(address).absolute()), str(Path(address).resolve())]
    return [*paths, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def file_fingerprint(address: str | Path) -> str:
    """32 hex digits of a hash of a file as it is stored; of a large one its size and samples of it."""
    with open_bytes(str(address), unpacked=False) as stream:
        size = stream.seek(0, io.SEEK_END)
        hasher = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
        offsets = range(0, size, _SAMPLE_BYTES)
        if len(offsets) > _SAMPLES:
            offsets = [n * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) for n in range(_SAMPLES)]
        for offset in offsets:
            stream.seek(offset)
            hasher.update(stream.read(_SAMPLE_BYTES))
        return hasher.hexdigest()


@contextmanager
def _opened(address: str, split: str | None, *, unpacked: bool) -> Iterator[Any]:
    path = urlsplit(address).path if address.startswith("http") else address.split("::")[0]
    compression = _COMPRESSIONS.get(PurePosixPath(path).suffix.lower()) if unpacked else None
    if compression == "zstd" and compression not in _UNPACK:
        problem = "the file is compressed with Zstandard, which needs a package: pip install zstandard"
        raise DataError(problem, file=address, split=split)
    with _stored(address) as stored:
        options = {}
        if compression == "zip":
            names = [name for name in zipfile.ZipFile(stored).namelist() if not name.endswith("/")]
            if len(names) != 1:
                first = names[0] if names else "NAME"
                problem = f"the archive holds {len(names)} files; name one: zip://{first}::{address}"
                raise DataError(problem, file=address, split=split)
            options = {"filename": names[0]}
        unpack = _UNPACK[compression] if compression else nullcontext
        with unpack(stored, **({"mode": "rb"} | options if compression else {})) as stream:
            yield stream


@contextmanager
def _stored(address: str) -> Iterator[Any]:
    """The file as it is stored; of a web server that gives no parts of files a copy, to be read anywhere."""
    if not is_remote(address):
        with Path(address).open("rb") as stream:
            yield stream
    elif not address.startswith("http") or _info(address).get("partial"):
        with fsspec.open(address, "rb") as stream:
            yield stream
    else:
        with fsspec.open(address, "rb", block_size=0) as stream, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)  # pyright: ignore[reportArgumentType]
            copy.seek(0)
            yield copy


def _info(address: str) -> dict[str, Any]:
    try:
        system, path = fsspec.url_to_fs(address)
        return system.info(path)
    except Exception as error:
        raise _unreadable(address, None, error) from error


def _unreadable(address: str, split: str | None, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    problem = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}".removesuffix(": ")
    return DataError(f"the file cannot be read: {problem}", file=address, split=split)
