"""Data sets to explore, small and hostile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from runwright.dataset.load import LoadedData


@pytest.fixture(scope="session")
def make_data() -> Callable[..., LoadedData]:
    """`make_data(train={"text": […], "label": […]}, …)`: as a run would load it."""

    def make(**splits: dict[str, list[Any]]) -> LoadedData:
        rows = {name: Dataset.from_dict(columns) for name, columns in splits.items()}
        rows = {name: each.add_column("row_id", list(range(len(each)))) for name, each in rows.items()}  # pyright: ignore
        names = dict.fromkeys(rows, "0")
        return LoadedData(splits=rows, fingerprints=names, notes=[], sources={})

    return make


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path / "cache"))
