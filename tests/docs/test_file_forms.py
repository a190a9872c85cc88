"""Each form of file in docs/data.md is read with the lines of YAML beside it, and gives the row it says."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from runwright.config.compose import compose
from runwright.config.targets import instantiate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
SECTION = "## My file looks like this\n"
FILE = re.compile(
    r'^```text title="(?P<name>[^"]+)"(?: encoding="(?P<encoding>[^"]+)")?\n(?P<content>.*?)^```$',
    re.M | re.S,
)
DATASET = re.compile(r"^```yaml\n# conf/dataset/(?P<name>\w+).yaml\n(?P<content>.*?)^```$", re.M | re.S)
FIRST_ROW = re.compile(r"^The first row: `(.+)`$", re.M)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    title: str
    files: list[dict[str, str]]
    dataset: dict[str, str]
    first_row: dict[str, Any]


def forms() -> list[Form]:
    section = PAGE.read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    return [
        Form(
            title=text.partition("\n")[0],
            files=[found.groupdict() for found in FILE.finditer(text)],
            dataset=next(found.groupdict() for found in DATASET.finditer(text)),
            first_row=yaml.safe_load("".join(FIRST_ROW.findall(text))),
        )
        for text in section.split("\n### ")[1:]
    ]


def write(name: str, content: str, encoding: str | None) -> None:
    """A file as it is shown; packed, or as parquet with the rows shown as JSON, where its name says so."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode(encoding or "utf-8")
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([json.loads(line) for line in content.splitlines()]), file)
    else:
        file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.title)
def test_a_file_is_read_as_the_page_says(form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path / "cache"))
    for file in form.files:
        write(**file)
    write(f"conf/dataset/{form.dataset['name']}.yaml", form.dataset["content"], None)
    composed = compose([f"dataset={form.dataset['name']}"])
    assert composed.mistakes == ()
    node = composed.config["dataset"]
    if form.files[0]["content"].count("\n") < 10 and node["holdout"]["validation"] == 0.1:
        node["holdout"]["validation"] = 0  # the examples have too few rows to hold a tenth out
    rows = instantiate(node, 0, group="dataset", key="dataset").splits["train"]
    first = rows.select_columns([name for name in rows.column_names if name != "row_id"])[0]
    assert first == form.first_row


def test_the_page_shows_25_forms_or_more_each_with_a_file_and_its_row() -> None:
    assert len(forms()) >= 25
    assert all(form.files and form.dataset and form.first_row for form in forms())
