"""Plain text as rows: a line or a whole file each, with the class from the folder's or file's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from runwright.dataset.readers.addresses import is_remote, path_of
from runwright.dataset.readers.reading import Files, Position, Reader, lines_of, whole_text


@dataclass(frozen=True, kw_only=True)
class TextReader(Reader):
    """Rows with a column `text` and, with `label_from`, a column `label`."""

    encoding: str
    unit: Literal["line", "file"]
    label_from: Literal["folder", "file"] | None

    @property
    def line_encoding(self) -> str | None:
        return self.encoding if self.unit == "line" else None

    def schemas(self, files: Files, *, sampled: str | None) -> dict[str, pa.Schema]:  # noqa: ARG002
        names = ["text"] if self.label_from is None else ["text", "label"]
        return dict.fromkeys(files, pa.schema([(name, pa.large_string()) for name in names]))

    def rows(self, at: Position, names: Sequence[str] = ()) -> Iterator[list[str]]:  # noqa: ARG002
        """Lines without their ends, empty ones too, or the one text of the file."""
        label = [] if self.label_from is None else [label_of_file(at.address, self.label_from)]
        if self.unit == "line":
            for line in lines_of(at, self.encoding):
                yield [line.rstrip("\r\n"), *label]
        elif not at.row:
            yield [whole_text(at, self.encoding), *label]

    def how(self, num_columns: int) -> dict[str, Any]:  # noqa: ARG002
        """What it takes to find the line of a row, see `places.py`."""
        return {"reader": "lines"} if self.unit == "line" else {}


def label_of_file(address: str, label_from: str) -> str:
    """The name of the file's folder, or its own without the ending."""
    path = path_of(address if is_remote(address) else str(Path(address).absolute()))
    return path.parent.name if label_from == "folder" else path.stem
