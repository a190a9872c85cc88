"""Tags and answers marked where they stand in a text."""

from __future__ import annotations

from typing import Any

from runwright.report.page.document import Part
from runwright.report.page.marks import MAX_TEXT, predictions_page, text_cell


def span(start: int, end: int, text: str, kind: str = "place") -> dict[str, Any]:
    return {"type": kind, "text": text, "start": start, "end": end}


def marked(record: dict[str, Any]) -> list[Part]:
    return [part for part in text_cell(record).parts if part.kind]


def test_right_wrong_and_missed_spans_are_marked_with_their_type() -> None:
    record = {"text": "From Oslo to Rome by Ada", "loss": 1.0, "predicted_tags": ["O"]}
    record |= {"predicted": [span(5, 9, "Oslo"), span(13, 17, "Rome", "person")]}
    record |= {"expected": [span(5, 9, "Oslo"), span(13, 17, "Rome"), span(21, 24, "Ada", "person")]}
    cell = text_cell(record)
    assert marked(record) == [
        Part("Oslo", "place", "right"),
        Part("Rome", "person", "wrong"),  # the missed one over it is not marked a second time
        Part("Ada", "person", "missed"),
    ]
    assert "".join(part.text for part in cell.parts) == record["text"]


def test_an_answer_is_marked_in_its_context_and_not_in_the_question() -> None:
    record = {"question": "Who was it?", "context": "It was Ada.", "predicted": "Ada", "start": 7, "end": 10}
    assert marked(record) == [Part("Ada", "", "marked")]
    assert marked(record | {"expected": ["Ada", "Ada L."]}) == [Part("Ada", "", "right")]
    assert marked(record | {"expected": ["Bob"]}) == [Part("Ada", "", "wrong")]
    assert text_cell(record).parts[0].text == "Who was it?"


def test_words_are_counted_as_joined_by_spaces() -> None:
    record = {"words": ["in", "New", "York"], "predicted": [span(3, 11, "New York")]}
    assert marked(record) == [Part("New York", "place", "marked")]


def test_columns_of_the_user_s_that_are_named_alike_mark_nothing() -> None:
    assert not marked({"text": "fine", "predicted": "good", "start": 0, "expected": 7})
    assert not marked({"text": "fine", "predicted": [span(0, 3, "bad")], "expected": [{"start": "a"}]})


def test_of_a_long_text_the_middle_between_marks_is_left_out() -> None:
    text = "a" * 5000 + "Oslo" + "b" * 100
    (before, mark, after) = text_cell({"text": text, "predicted": [span(5000, 5004, "Oslo")]}).parts
    assert (mark.text, after.text) == ("Oslo", "b" * 100)
    assert before.text.startswith("a" * 750 + " … (5,000 characters) … a")
    assert len(before.text) < MAX_TEXT + 40


def test_the_page_escapes_everything_and_shows_spans_in_words() -> None:
    attack = "<script>alert(1)</script>"
    record = {"text": f"to {attack}", "predicted": [span(3, 3 + len(attack), attack, "<b>")]}
    page = predictions_page([record], title=attack)
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert f'<mark class="marked">{escaped}<sub>&lt;b&gt;</sub></mark>' in page
    assert f"{escaped} (&lt;b&gt;)" in page
    assert attack not in page
