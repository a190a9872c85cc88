"""Files and cache entries that appear whole or not at all, hashes, nested records made flat; a heartbeat.

A cache entry is a sub-folder named after its key. It is written beside its place, moved there by one rename,
and used under a file lock of its own, so that of several processes that want it one writes and the others
wait. Using an entry renews its time stamp; `evict` removes those unused for longest.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from runwright.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
PAGE = (".html", ".htm")
_ABANDONED_SECONDS = 24 * 3600  # nobody prepares one set for a day
# What libraries in Rust, numpy and torch raise where the disk is full: neither the type nor the number of it.
_REFUSED = re.compile(r"\(os error (\d+)\)|\d+ requested and \d+ written|\. unexpected pos \d+ vs")
DISK_REFUSES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def local_path(text: str) -> Path:
    """The path that was typed, with `~` and $VARIABLES replaced unless there is a file of that very name."""
    return Path(os.path.expanduser(text if os.path.exists(text) else os.path.expandvars(text)))  # noqa: PTH110, PTH111 - a text that is no path raises nothing


@contextmanager
def repeating(act: Callable[[], object], seconds: float, *, name: str) -> Iterator[None]:
    """Call `act` every so many seconds in a thread, until the block ends, whatever that is busy with."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A path to write to that replaces `file` when the block ends without an error; synced to the disk."""
    if file.exists() and not file.is_file():  # a device, a FIFO
        yield file
        return
    unfinished = _unfinished(file)
    try:
        yield unfinished
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError as error:
        if error.errno in DISK_REFUSES:
            error.filename = error.filename or str(file)  # a write does not tell it
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def remove_abandoned(file: Path) -> None:
    """Remove what processes of this machine were writing of a file when they were killed."""
    from psutil import pid_exists

    for other in file.parent.glob(f".{glob.escape(file.name)}.*[0-9].tmp"):
        number = other.stem.rpartition(".")[2]
        if number.isdigit() and not pid_exists(int(number)):
            other.unlink(missing_ok=True)


def output_path(
    path: Path, *, endings: Collection[str] = (), is_folder: bool = False, flag: str = "--output"
) -> Path:
    """The file (or new folder) to write for a flag, or what a link leads to; makes its parents.

    Raises ConfigError where it cannot be written, or ends in what is none of the formats.
    """
    try:
        if path.is_dir() and not is_folder:
            raise ConfigError(f"{flag}: given the folder {str(path)!r}, expected the name of a file")
        if path.exists() and not path.is_file():
            return path
        if endings and path.suffix and path.suffix.lower() not in endings:
            raise ConfigError(f"{flag}: given {path.suffix!r:.40}, expected one of {', '.join(endings)}")
        file = Path(os.path.realpath(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        _unfinished(file).touch()
        _unfinished(file).unlink()
        remove_abandoned(file)
    except OSError as error:
        raise ConfigError(f"{flag}: {str(path)!r:.200} cannot be written: {error.strerror}") from error
    return file


@contextmanager
def folder_whole(folder: Path) -> Iterator[Path]:
    """A new folder to fill that replaces `folder` when the block ends without an error.

    Raises OSError, with its number, where the disk refuses, whatever the library that wrote raises.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.replace(folder)
    except Exception as error:
        chain: list[BaseException] = [error]
        while not (number := _refusal(chain[-1])) and (inner := chain[-1].__cause__ or chain[-1].__context__):
            if inner in chain:  # a circle
                break
            chain.append(inner)
        if not number or getattr(error, "filename", None):
            raise
        file = getattr(chain[-1], "filename", None) or str(folder)
        raise OSError(number, os.strerror(number), file) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _refusal(error: BaseException) -> int:
    """The number of an error with which the disk refuses, whichever library raised it; 0 for another."""
    number, refused = getattr(error, "errno", None), _REFUSED.search(str(error))
    number = number or (refused and int(refused[1] or errno.ENOSPC))
    return number if number in DISK_REFUSES else 0


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all."""
    with written_whole(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(file: Path, value: Any) -> None:
    """Write one indented JSON document whole or not at all; what JSON does not know is written as text."""
    write_text(file, json_text(value))


def json_text(value: Any) -> str:
    """The content of a file that `write_json` writes."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


def read_json(file: Path) -> dict[str, Any]:
    """A mapping from a file; empty where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if file.exists():
            _log.warning("%s cannot be read and is left out: %s", file, error)
        return {}
    return value if isinstance(value, dict) else {}


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's content (64 hex digits)."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flatten(value: Any, key: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted key; lists and empty mappings are leaves."""
    if not isinstance(value, Mapping) or not value:
        return {key: value} if key else {}
    leaves: dict[str, Any] = {}
    for name, inner in value.items():
        leaves |= flatten(inner, f"{key}.{name}" if key else str(name))
    return leaves


def cache_root() -> Path:
    """The per-user cache folder: RUNWRIGHT_CACHE, else XDG_CACHE_HOME/runwright, else ~/.cache/runwright."""
    if folder := os.environ.get("RUNWRIGHT_CACHE"):
        return Path(folder).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache").absolute() / "runwright"


def digest(key: Any) -> str:
    """A name for a JSON-able key, the same in every process and on every machine (32 hex digits)."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def bytes_digest(values: np.ndarray) -> str:
    """A name for the numbers of an array (32 hex digits)."""
    import numpy as np  # deferred: config.targets, which reads sources alone, is light

    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return hashlib.blake2b(little.tobytes(), digest_size=16).hexdigest()


def sources_digest(*paths: Path, also: str = "") -> str:
    """A hash of the text of source files and of all those in folders."""
    hasher = hashlib.sha256(also.encode())
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            content = file.read_bytes()
            hasher.update(f"{file.relative_to(path.parent).as_posix()} {len(content)}\n".encode() + content)
    return hasher.hexdigest()[:32]


def sources_of(file: Path, module: str) -> Path:
    """The folder of the package that a module's file lies in; the file of one that lies in none."""
    levels = module.count(".") - 1 + (file.name == "__init__.py")
    return file.parents[levels] if levels >= 0 else file


@contextmanager
def locked(entry: Path) -> Iterator[None]:
    """Hold the entry's lock, waiting as long as another process builds it."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_lock_path(entry))
        try:
            lock.acquire(timeout=2)
        except Timeout:
            _log.info("waiting for another process that prepares %s", entry)
            lock.acquire()
    except OSError as error:
        raise _unwritable(entry, error) from error
    try:
        yield
    finally:
        lock.release()


def write_entry(entry: Path, write: Callable[[Path], Mapping[str, Any]]) -> None:
    """Let `write` fill a folder and return its manifest, then move it to `entry`; call with the lock held."""
    try:
        with folder_whole(entry) as unfinished:
            manifest = dict(write(unfinished))
            manifest["files"] = {file.name: checksum(file) for file in unfinished.iterdir() if file.is_file()}
            write_json(unfinished / MANIFEST, manifest)
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise  # something that `write` reads, not the cache
        raise _unwritable(entry, error) from error


@contextmanager
def cached(
    entry: Path, write: Callable[[Path], Mapping[str, Any]], *, max_bytes: int
) -> Iterator[tuple[dict[str, Any], bool]]:
    """The manifest of an entry, and True where `write` made it just now; under its lock, noted as used.

    Entries beside it that were unused for longest are removed beyond `max_bytes`.
    """
    with locked(entry):
        manifest = read_whole(entry)
        if is_new := not manifest:
            write_entry(entry, write)
            evict(entry.parent, max_bytes=max_bytes, keep=entry)
        os.utime(entry / MANIFEST)  # used now
        yield manifest or read_json(entry / MANIFEST), is_new


def read_whole(entry: Path) -> dict[str, Any]:
    """The manifest of an entry whose files are as they were written; empty, with a warning, if damaged."""
    manifest = read_json(entry / MANIFEST)
    try:
        sums = manifest["files"] if manifest else {}
        if all(checksum(entry / Path(name).name) == total for name, total in sums.items()):
            return manifest
        reason = "a file is not as it was written"
    except (OSError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    _log.warning("%s is damaged and made anew: %s", entry, reason)
    return {}


def checksum(file: Path) -> int:
    """The CRC-32 of a file's content."""
    total = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            total = zlib.crc32(block, total)
    return total


def evict(folder: Path, *, max_bytes: int, keep: Path | None = None) -> list[Path]:
    """Remove entries, unused for longest first, until the rest fits; entries in use and `keep` stay."""
    for unfinished in folder.glob(".*.partial"):  # of processes that were killed
        with suppress(OSError):  # finished or removed meanwhile
            if unfinished.is_dir() and unfinished.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                shutil.rmtree(unfinished, ignore_errors=True)
    sizes, used = dict[Path, int](), dict[Path, float]()
    for entry in folder.glob("[!.]*/"):
        with suppress(OSError):  # not whole, or removed meanwhile
            used[entry] = (entry / MANIFEST).stat().st_mtime
            sizes[entry] = sum(path.stat().st_size for path in entry.rglob("*"))
    removed: list[Path] = []
    for entry in sorted(sizes.keys() - {keep}, key=used.__getitem__):
        if sum(sizes.values()) <= max_bytes:
            break
        # Whoever has mapped its files keeps reading them.
        with suppress(Timeout, OSError), FileLock(_lock_path(entry), timeout=0):
            shutil.rmtree(entry, ignore_errors=True)
            removed.append(entry)
            del sizes[entry]
    return removed


def _lock_path(entry: Path) -> Path:
    return entry.parent / f".{entry.name}.lock"


def _unwritable(entry: Path, error: OSError) -> DataError:
    problem = f"the cache cannot be written ({error.strerror or error})"
    space = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    hint = f"{space}choose another folder with the environment variable RUNWRIGHT_CACHE"
    return DataError(f"{problem}; {hint}", file=str(entry.parent))
