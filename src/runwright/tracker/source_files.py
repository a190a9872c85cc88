"""The files that a run's numbers come from: source code, the user's configuration, models and tokenizers."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import stat
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor, is_secret_name
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.store import file_sha256, write_json

SOURCE_SUFFIXES = (".py", ".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".sh", ".md", ".txt")
MAX_FILES = 2000  # of one package or model
MAX_COPY_BYTES = 200_000  # one file; a larger one is hardly source code
MAX_COPIES_BYTES = 5_000_000  # all of them
HASHES_FILE = "file-hashes.json"


def code_folders(packages: Iterable[str], *, conf: Path | None) -> dict[str, Path]:
    """Folders of a run's source code: Runwright's, the user's packages', and their configuration."""
    folders: dict[str, Path] = {}
    for package in ("runwright", *packages):
        spec = importlib.util.find_spec(package.split(".")[0])
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            folders[package] = file.parent if file.name == "__init__.py" else file
        elif spec is not None and spec.submodule_search_locations:  # a package without __init__.py
            folders[package] = Path(next(iter(spec.submodule_search_locations)))
    if conf is not None and conf.is_dir():
        folders["conf"] = conf
    return folders


def hash_code(folders: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """The sha256 of each source file, by package and by its path in there."""
    hashes = {}
    for name, folder in folders.items():
        files = (file for file in folder.rglob("*") if file.suffix in (".py", ".yaml", ".yml"))
        sources = sorted(file for file in files if "__pycache__" not in file.parts and file.is_file())
        if folder.is_file():  # a package of one module
            folder, sources = folder.parent, [folder]
        hashes[name] = {
            file.relative_to(folder).as_posix(): file_sha256(file) for file in sources[:MAX_FILES]
        }
    return hashes


def hash_model(name: str, *, revision: str | None, cache: Path) -> dict[str, Any]:
    """The folder that a model or tokenizer was read from, and the sha256 of each of its files.

    `cache` is a folder that remembers the hashes of files whose size and time have not changed.
    """
    try:
        folder = Path(resolve_source(name))
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            # Where a hub's client keeps the files that were loaded; no network.
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (ConfigError, OSError, ValueError, ImportError) as error:
        return {"name": name, "revision": revision, "files": {}, "reason": str(error).split("\n")[0]}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    remembered: dict[str, list[Any]] = {}
    digests = {}
    with contextlib.suppress(OSError, ValueError):
        remembered = json.loads((cache / HASHES_FILE).read_text(encoding="utf-8"))
    for file in files[:MAX_FILES]:
        status, key = file.stat(), str(file.resolve())
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        if remembered.get(key, [None])[:-1] != state:
            remembered[key] = [*state, file_sha256(file)]
        digests[str(file.relative_to(folder))] = remembered[key][-1]
    with contextlib.suppress(OSError):  # a convenience: where it cannot be written, files are hashed again
        cache.mkdir(parents=True, exist_ok=True)
        write_json(cache / HASHES_FILE, remembered)
    return {"name": name, "revision": revision, "folder": str(folder), "files": digests}


def copy_sources(names: Iterable[str], *, root: Path, folder: Path) -> list[Path]:
    """Copies of the small text files among `names`, in the same places, with secrets masked.

    A link is left out: it may lead to a file of somebody else.
    """
    redactor, copied, total = Redactor(), [], 0
    for name in names:
        file = root / name
        if file.suffix not in SOURCE_SUFFIXES or is_secret_name(file.stem):
            continue
        try:
            with open_regular(file) as opened:
                size = os.fstat(opened.fileno()).st_size
                if size > MAX_COPY_BYTES or total + size > MAX_COPIES_BYTES:
                    continue
                text = redactor.text(opened.read().decode("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        total += size
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
        copied.append(copy)
    return copied


def open_regular(file: Path) -> BufferedReader:
    """A file opened for reading; raises OSError for a link, pipe, device or folder."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", str(file))
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor has no path
