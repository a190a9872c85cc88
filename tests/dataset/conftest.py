"""Files to read and readers with every option at its shipped default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.dataset.load import LoadedData, load_splits
from runwright.dataset.readers.files import read_csv, read_json, read_parquet, read_text
from runwright.types import Splits

DEFAULTS: dict[str, tuple[Callable[..., Splits], dict[str, Any]]] = {
    "csv": (
        read_csv,
        {
            "folder": None,
            "delimiter": "comma",
            "quote": '"',
            "escape": None,
            "encoding": "utf-8",
            "header": True,
            "column_names": None,
            "column_types": {},
            "streaming": False,
        },
    ),
    "json": (
        read_json,
        {"folder": None, "encoding": "utf-8", "field": None, "streaming": False},
    ),
    "parquet": (read_parquet, {"folder": None, "streaming": False}),
    "text": (
        read_text,
        {"folder": None, "encoding": "utf-8", "unit": "line", "label_from": None, "streaming": False},
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, so that none is right because another ran before it."""
    folder = tmp_path / "the cache"
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(folder))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    """Write a file below the test's folder and return its path."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file


@pytest.fixture
def read() -> Callable[..., Splits]:
    """`read(reader, files, **options)`: the raw splits; files may be the path of train alone."""

    def read_files(reader: str, files: Any, **options: Any) -> Splits:
        function, defaults = DEFAULTS[reader]
        return function(files=files if isinstance(files, dict) else {"train": files}, **(defaults | options))

    return read_files


@pytest.fixture
def load() -> Callable[..., LoadedData]:
    """`load(source, seed=0, **options)`: what `load_splits` makes of raw splits."""

    return load_with_defaults


def load_with_defaults(source: Splits, seed: int = 0, **options: Any) -> LoadedData:
    defaults = {
        "columns": {},
        "cleaning": [],
        "holdout": {},
        "stratify_by": None,
        "subset": {},
    }
    defaults |= {"streaming": False, "shuffle_buffer": 10, "num_processes": 1}
    return load_splits(seed, source=source, **(defaults | options))
