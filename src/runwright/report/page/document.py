"""The frame of a page: style, script and data in one file that loads nothing and runs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runwright.report.page.markup import Markup, tag

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """What the script draws; `data` is what its function of the same kind reads."""

    kind: str  # curves, scatter, matrix, bars, intervals
    title: str
    about: str  # what a reader must know to judge it
    data: dict[str, Any]
    whole: bool = False  # takes the whole width


@dataclass(kw_only=True)
class Page:
    """Sections in the order they are added."""

    title: str
    head: Markup = field(default_factory=Markup)
    _sections: list[tuple[str, str, list[Markup]]] = field(default_factory=list)
    _charts: list[dict[str, Any]] = field(default_factory=list)

    def section(self, name: str, heading: str, *content: Markup) -> None:
        """A section, where there is anything in it."""
        if any(content):
            self._sections.append((name, heading, list(content)))

    def charts(self, *charts: Chart | None) -> Markup:
        """Places for charts side by side."""
        figures = [self._figure(chart) for chart in charts if chart is not None]
        return tag("div", *figures, class_="pair") if figures else Markup()

    def render(self) -> str:
        """The whole file."""
        style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
        script = Markup((HERE / "charts.js").read_text(encoding="utf-8"))
        data = Markup(safe_json({"charts": self._charts}))
        policy = (
            f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        links = [tag("a", heading, href=f"#{name}") for name, heading, _ in self._sections]
        sections = [
            tag("section", tag("h2", heading), *content, id=name) for name, heading, content in self._sections
        ]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", self.title),
            tag("style", style),
        )
        body = tag(
            "body",
            tag("header", self.head, _theme_button(), tag("nav", *links, aria_label="Sections")),
            tag("noscript", tag("p", "The charts need JavaScript; tables and texts do without.")),
            tag("main", *sections),
            tag("footer", "Made by Runwright. This file is complete: it loads nothing from anywhere."),
            tag("div", id="tip", role="status", hidden=True),
            tag("script", data, type="application/json", id="report-data"),
            tag("script", script),
        )
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"

    def _figure(self, chart: Chart) -> Markup:
        name = f"chart-{len(self._charts) + 1}"
        label = f"{chart.title}: {chart.about}" if chart.about else chart.title
        self._charts.append({"id": name, "kind": chart.kind, "label": label, **chart.data})
        caption = tag("figcaption", tag("b", chart.title), tag("span", chart.about))
        place = tag("div", id=name, class_="chart", data_kind=chart.kind)
        return tag("figure", caption, place, class_="whole" if chart.whole else None)


def image(file: Path, *, title: str) -> Markup:
    """A PNG inside the page."""
    source = f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
    return tag("figure", tag("figcaption", tag("b", title)), tag("img", src=source, alt=title))


def safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element."""
    text = json.dumps(_finite(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _theme_button() -> Markup:
    return tag("button", "Light / dark", type="button", id="theme", hidden=True)


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode('utf-8')).digest()).decode('ascii')}"


def _finite(value: Any) -> Any:
    """Numbers to five digits: a picture shows no more; null for what is no number."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(member) for member in value]
    return value
