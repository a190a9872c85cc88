"""Texts of predictions with their tags and answers marked, in the page of a run and in one of predictions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from runwright.report.page import document
from runwright.report.page.document import Cell, Part, Section, Table

NOT_TEXT = {
    *("row_id", "expected", "predicted", "score", "scores", "loss", "loss_count"),
    *("expected_tags", "predicted_tags"),
}
MAX_TEXT = 1500  # characters between two marks, or of a text without any
COLUMNS = ("text", "predicted", "score", "expected")


def texts_of(record: Mapping[str, Any], others: Collection[str] = ()) -> list[str]:
    """The texts of a prediction; a list of words is one with spaces between, as their spans count it."""
    values = (value for name, value in record.items() if name not in NOT_TEXT and name not in others)
    texts = (" ".join(map(str, value)) if isinstance(value, list) else value for value in values)
    return [text for text in texts if isinstance(text, str) and text]


def text_cell(record: Mapping[str, Any], others: Collection[str] = ()) -> Cell:
    """All texts of a prediction but those in `others`, its spans or its answer marked where they stand."""
    texts, spans = texts_of(record, others), list(_spans(record))
    parts: list[Part] = []
    for text in texts:
        # Of two texts the spans are in the one that has their words there.
        fits = all(text[span["start"] : span["end"]] == span["text"] for span in spans)
        parts += [*_marked(text, spans if fits else ()), Part("\n")]
    return Cell("\n".join(texts), kind="text", parts=parts[:-1])


def _spans(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Predicted spans, right or wrong where that is known, then missed ones."""
    predicted, expected = record.get("predicted"), record.get("expected")
    is_known = isinstance(expected, list)  # else it is a column of the user's
    answer = {"text": predicted, "type": "", "start": record.get("start"), "end": record.get("end")}
    if isinstance(predicted, str) and _is_span(answer):
        yield {**answer, "kind": ("right" if predicted in expected else "wrong") if is_known else "marked"}
    lists = (value if isinstance(value, list) else () for value in (predicted, expected))
    ours, theirs = ({(s["start"], s["end"], s["type"]): s for s in spans if _is_span(s)} for spans in lists)
    for key, span in ours.items():
        yield {**span, "kind": ("right" if key in theirs else "wrong") if is_known else "marked"}
    yield from ({**span, "kind": "missed"} for key, span in theirs.items() if key not in ours)


def _is_span(value: Any) -> bool:
    is_span = isinstance(value, Mapping) and value.keys() >= {"start", "end", "type", "text"}
    return is_span and all(isinstance(value[name], int) for name in ("start", "end"))


def _marked(text: str, spans: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """A text as its parts; of spans that overlap the first one is marked, a predicted one before a missed."""
    at = 0
    for span in sorted(spans, key=lambda span: (span["start"], span["kind"] == "missed")):
        if span["start"] >= at:
            yield Part(_shortened(text[at : span["start"]]))
            yield Part(span["text"], span["type"], span["kind"])
            at = span["end"]
    yield Part(_shortened(text[at:]))


def _shortened(text: str) -> str:
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else f"{text[:half]} … ({len(text):,} characters) … {text[-half:]}"


def short_cell(value: object) -> Cell:
    """A cell with a value of at most 300 characters."""
    cell = document.cell_of(value)
    return cell._replace(text=f"{cell.text[:300]}…") if len(cell.text) > 300 else cell


def predictions_page(records: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """The HTML of a page of predictions, in one file."""
    columns = [name for name in COLUMNS if name == "text" or any(name in record for record in records)]
    values = ([short_cell(record.get(name)) for name in columns[1:]] for record in records)
    rows = [[text_cell(record), *cells] for record, cells in zip(records, values, strict=True)]
    table = Table(title="Predictions", columns=columns, rows=rows, filters=["predicted"])
    lines = [f"{len(records):,} predictions"]
    section = Section("predictions", "Predictions", [table])
    return document.render([section], title=title, heading=title, lines=lines)
