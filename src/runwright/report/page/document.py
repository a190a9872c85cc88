"""Pages as data, and the one template that writes them: a file that loads nothing and runs nothing else.

All content is hostile: the template escapes every text, and the only Markup is our own style and script.
"""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from runwright.config.options import with_values
from runwright.report.terminal import number_text

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart that the script draws; `data` is the input of its function of the same kind."""

    kind: str  # curves, scatter, parallel, matrix, bars
    title: str
    about: str  # what a reader must know to judge it
    data: dict[str, Any]
    whole: bool = False  # takes the whole width


class Part(NamedTuple):
    """A part of a text, marked where it is of a kind."""

    text: str
    label: str = ""
    kind: str = ""  # a class of the style sheet


class Cell(NamedTuple):
    """A cell of a table that is more than its text."""

    text: str
    value: float | None = None  # what it is sorted by
    kind: str = ""  # a class of the style sheet
    about: str = ""  # after the text, less prominent
    link: str | None = None
    parts: Sequence[Part] = ()  # of the text, to be shown in its place


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of cells, numbers or texts; sorted by a click on a column's name."""

    kind: ClassVar = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    summary: str = ""  # folded behind this line
    filters: Sequence[str] = ()  # columns of which one value can be chosen; with a search field
    first_is_best: bool = False
    is_open: ClassVar = False

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, with numbers written for people."""
        return [[cell if isinstance(cell, Cell) else cell_of(cell) for cell in row] for row in self.rows]

    def choices(self, column: str) -> list[str]:
        """The values of a column, once each."""
        index = self.columns.index(column)
        return list(dict.fromkeys(row[index].text for row in self.cells))


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A paragraph, or text as it is written, and a list."""

    kind: ClassVar = "text"
    text: str = ""
    items: Sequence[str] = ()
    is_code: bool = False
    summary: str = ""  # folded behind this line
    is_open: bool = False


class Section(NamedTuple):
    """Blocks under a heading; charts of a list stand side by side. Left out where all is empty."""

    name: str
    heading: str
    blocks: Sequence[Table | Text | Sequence[Chart | None] | None]


def render(sections: Sequence[Section], *, lines: Sequence[str], **head: Any) -> str:
    """The HTML of a page, in one file; empty blocks and sections are left out.

    `head`: its `title` and `heading`, and of a run `status` and `error`. `lines` stand below the heading.
    """
    shown: list[Any] = []
    for section in sections:
        blocks = [list(filter(None, one)) if isinstance(one, Sequence) else one for one in section.blocks]
        if any(blocks):
            shown.append(section._replace(blocks=[block for block in blocks if block]))
    rows = [block for section in shown for block in section.blocks if isinstance(block, list)]
    charts = [chart for row in rows for chart in row]
    text = filled(
        "page.html",
        styles=[HERE / "style.css"],
        scripts=[HERE / "charts.js"],
        sections=shown,
        lines=lines,
        **{"status": "", "error": "", **head},
        charts=[  # the label is for readers that see no picture
            {"kind": one.kind, "label": f"{one.title}: {one.about}".removesuffix(": ")}
            | with_values(one.data, _finite)
            for one in charts
        ],
    )
    # HTML may hold no control characters and no halves of surrogate pairs.
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text).encode("utf-8", "replace").decode("utf-8")


def cell_of(value: object) -> Cell:
    """A cell that is sorted by its number where it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(value_text(value))
    return Cell(number_text(value), float(value), "number")


def value_text(value: object) -> str:
    """A value of a record as text: lists with commas, nothing for None."""
    if isinstance(value, dict) and {"text", "type"} <= value.keys():  # a span
        return f"{value['text']} ({value['type']})"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return "" if value is None else str(value)


def filled(
    template: str, *, folder: Path = HERE, styles: Sequence[Path], scripts: Sequence[Path], **values: Any
) -> str:
    """The HTML of a template with style and script in it, and a policy under which nothing else runs."""
    texts = ("".join(file.read_text(encoding="utf-8") for file in files) for files in (styles, scripts))
    style, script = map(Markup, texts)
    hashes = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {hashes}; base-uri 'none'; form-action 'none'"
    page = environment(folder).get_template(template)
    return page.render(**values, style=style, script=script, policy=policy)


@cache
def environment(folder: Path) -> Environment:
    """The templates of a folder, and ours."""
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode('utf-8')).digest()).decode('ascii')}"


def _finite(_: str, value: Any) -> Any:
    """Numbers to six digits: a picture shows no more; null for what is no number."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
