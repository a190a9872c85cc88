"""Files by their address: a local path, or what fsspec opens (https://, s3://); compressed or not."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec.compression

from runwright.errors import DataError

_UNPACK: Any = fsspec.compression.compr  # by name: a function from a packed stream to its content
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
# What tells one state of a remote file from another, as the file systems of fsspec call it.
_MARKS = ("ETag", "Content-MD5", "Last-Modified", "mtime", "modified", "created", "LastModified", "blob_id",
          "CRC", "md5Hash", "generation")  # fmt: skip
_SAMPLES = 1024  # places of a file, evenly from its beginning to its end, that its fingerprint is made of
_SAMPLE_BYTES = 1 << 16  # at each of them; smaller files are read whole


def is_remote(address: str) -> bool:
    """Whether fsspec has to open it; `zip://a.csv::rows.zip` too."""
    return "://" in address


def path_of(address: str) -> PurePosixPath:
    """Folder and name of the file, without the ending of its compression or the query of an address."""
    path = PurePosixPath(urlsplit(address).path) if address.startswith("http") else PurePosixPath(address)
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSIONS else path


@contextmanager
def open_bytes(address: str, *, split: str | None = None, unpacked: bool = True) -> Iterator[BinaryIO]:
    """The content of a file, as it is stored or unpacked; raises DataError where it cannot be read."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(_opened(address, split, unpacked=unpacked))
        except Exception as error:
            raise _unreadable(address, split, error) from error
        try:
            yield stream
        except Exception as error:
            library = type(error).__module__.split(".")[0]
            if isinstance(error, _BROKEN) or library in {"aiohttp", "zstandard", "botocore", "httpx"}:
                raise _unreadable(address, split, error) from error
            raise


def seek(stream: BinaryIO, offset: int) -> None:
    """Go to a byte of a stream at its beginning, by reading where it knows no other way."""
    try:
        stream.seek(offset)
    except (ValueError, OSError):
        while offset > 0 and (read := len(stream.read(min(offset, 1 << 20)))):
            offset -= read


def seekable(stream: BinaryIO) -> BinaryIO:
    """The stream, or its content in memory where it can only be read from beginning to end."""
    try:
        stream.seek(0, io.SEEK_END)
        stream.seek(0)
    except (ValueError, OSError):
        return io.BytesIO(stream.read())
    return stream


def num_bytes(address: str) -> int | None:
    """The size of the file as it is stored; None where nobody says."""
    if is_remote(address):
        return _info(address).get("size")
    return Path(address).stat().st_size if Path(address).is_file() else None


def file_state(address: str | Path) -> list[Any]:
    """What tells one state of a file from another, without reading it where that is possible."""
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
    with open_bytes(str(address), unpacked=False) as opened:
        stream = seekable(opened)
        size = stream.seek(0, io.SEEK_END)
        hasher = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
        places = range(0, size, _SAMPLE_BYTES)
        if len(places) > _SAMPLES:
            places = [n * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) for n in range(_SAMPLES)]
        for place in places:
            stream.seek(place)
            hasher.update(stream.read(_SAMPLE_BYTES))
        return hasher.hexdigest()


def remote_files(address: str, *, split: str) -> list[str]:
    """The files of a remote pattern or folder, in the order of their names."""
    if address.startswith("http") or "::" in address:  # no folders there, and ? begins a query
        return [address]
    try:
        system, path = fsspec.url_to_fs(address)
        found: list[Any] = [path]
        if any(mark in path for mark in "*?["):
            found = sorted(system.glob(path))
        elif system.isdir(path):
            found = sorted(system.find(path))
        names = [str(system.unstrip_protocol(name)) for name in found if system.isfile(name)]
    except Exception as error:
        raise _unreadable(address, split, error) from error
    if not names:
        raise DataError("no such file", file=address, split=split)
    return names


@contextmanager
def _opened(address: str, split: str | None, *, unpacked: bool) -> Iterator[Any]:
    path = urlsplit(address).path if address.startswith("http") else address.split("::")[0]
    compression = _COMPRESSIONS.get(PurePosixPath(path).suffix.lower()) if unpacked else None
    if compression == "zstd" and compression not in _UNPACK:
        raise DataError(
            "the file is compressed with Zstandard, which needs a package: pip install zstandard",
            file=address, split=split,
        )  # fmt: skip
    with _stored(address) as stored:
        if compression is None:
            yield stored
        elif compression == "zip":
            with zipfile.ZipFile(seekable(stored)) as archive:
                names = [each.filename for each in archive.infolist() if not each.is_dir()]
                if len(names) != 1:
                    first = names[0] if names else "NAME"
                    problem = f"the archive holds {len(names)} files; name one: zip://{first}::{address}"
                    raise DataError(problem, file=address, split=split)
                with archive.open(names[0]) as stream:
                    yield stream
        else:
            with _UNPACK[compression](stored, mode="rb") as stream:
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
