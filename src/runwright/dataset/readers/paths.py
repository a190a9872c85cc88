"""From what a user writes for a split (a file, a pattern, a folder, or a list of these) to files."""

from __future__ import annotations

import difflib
import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runwright.dataset.readers.addresses import is_remote, open_bytes, remote_files
from runwright.errors import ConfigError, DataError

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (or an Excel file)",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\xfd7zXZ": "xz",
    b"PAR1": "parquet",
    b"ARROW1": "Arrow",
}


def files_of_splits(files: Mapping[str, Any], folder: str | None) -> dict[str, list[str]]:
    """The files of each split, in a fixed order; splits given as null are left out."""
    root = folder if folder and is_remote(folder) else Path(folder or ".").expanduser()
    if isinstance(root, Path) and not root.is_dir():
        raise DataError(f"no such folder (looked in {root.absolute()})", file=folder)
    found = {split: _files(split, given, root) for split, given in files.items() if given is not None}
    if not found:
        raise ConfigError("dataset.source.files: no split has a file; set for example files.train=PATH")
    return found


def _files(split: str, given: Any, root: Path | str) -> list[str]:
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, list | tuple) or not all(isinstance(item, str) for item in patterns):
        raise ConfigError(
            f"dataset.source.files.{split}: expected a path, a pattern or a list of them, got {given!r}"
        )
    paths = [str(path) for pattern in patterns for path in _expand(split, pattern, root)]
    if not paths:
        raise DataError("the list of files is empty", split=split)
    doubled = sorted(path for path, count in Counter(paths).items() if count > 1)
    if doubled:
        raise ConfigError(
            f"dataset.source.files.{split}: {doubled[0]!r} is named twice; dataset=mixture repeats rows"
        )
    return paths


def _expand(split: str, pattern: str, root: Path | str) -> Sequence[str | Path]:
    if is_remote(pattern) or isinstance(root, str):
        address = pattern if is_remote(pattern) else f"{str(root).rstrip('/')}/{pattern}"
        return remote_files(address, split=split)
    path = root / Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = list(_files_in(path))
        if not inside:
            raise DataError("the folder holds no files", file=str(path), split=split)
        return inside
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute patterns too
    matches = [match for match in matches if match.is_file()]
    if not matches:
        raise DataError(_missing(path), file=str(path), split=split)
    return matches


def _files_in(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files but hidden ones, in the order of their names; links to folders are followed."""
    real = folder.resolve()
    if real in above:  # a link to a folder that holds it
        return
    for item in sorted(folder.iterdir()):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _files_in(item, (*above, real))
        elif item.is_file():
            yield item


def _missing(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"a link to a file that does not exist ({path.readlink()})"
    if path.exists():
        return "neither a file nor a folder"
    if glob.has_magic(str(path)):
        return f"no file matches this pattern (looked in {Path.cwd()})"
    folder = path.parent
    if not folder.is_dir():
        return f"no such file: the folder {str(folder.absolute())!r} does not exist"
    near = difflib.get_close_matches(path.name, [item.name for item in folder.iterdir()], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "dataset.source.folder=PATH says where it is"
    return f"no such file (looked in {str(folder.absolute())!r}); {hint}"


def check_is_text(address: str, *, split: str) -> None:
    """Raise DataError for a file that is empty, may not be read, or is evidently not text."""
    with open_bytes(address, split=split) as stream:
        head = stream.read(9)
    if len(head) < 9 and not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError("the file is empty", file=address, split=split)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(
                f"this is a {kind} file, not text; compressed files are read where their names end in .gz, "
                ".bz2, .xz, .zst or .zip; for others choose another dataset group",
                file=address, split=split,
            )  # fmt: skip
