"""Answers in the forms in which data sets have them, and what is said of those that are elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from runwright.errors import DataError
from runwright.task.answers import Answers, read_answers

CONTEXT = "Ida Moss, and not Ida, opened it."


def answers_of(*answers: Any, context: str = CONTEXT, more: Any = (), **options: Any) -> list[Answers]:
    columns = {"context": [context] * len(answers), "answers": [*answers]}
    columns |= {name: [value] * len(answers) for name, value in dict(more).items()}
    usual: dict[str, Any] = {"split": "train", "may_lack": False, "misplaced": "refuse"}
    return read_answers(columns, column="answers", context_column="context", **usual | options)


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        ([{"text": "Ida", "answer_start": 18}], {}),
        ({"text": "Ida", "answer_start": 18}, {}),
        ("Ida", {"answer_start": 18}),
        ("Ida", {"answer_start": 18.0}),
        ("{'text': array(['Ida'], dtype=object), 'answer_start': array([18], dtype=int32)}", {}),
        ('[{"text": "Ida", "answer_start": 18}]', {}),
        ({"text": ["Ida", "not Ida"], "answer_start": [18, 14]}, {}),
    ],
)
def test_an_answer_is_read_with_its_start(answers: Any, more: dict[str, Any]) -> None:
    assert answers_of(answers, more=more)[0].span == (18, 21)


@pytest.mark.parametrize("answers", ["not Ida", ["not Ida"], {"text": "not Ida"}, "['not Ida']"])
def test_an_answer_without_a_start_is_where_it_occurs_once(answers: Any) -> None:
    said: dict[str, list[int]] = {}
    assert answers_of(answers, more={"answer_start": None}, notes=said) == [Answers(("not Ida",), (14, 21))]
    assert said["an answer without answer_start is taken from where it occurs"] == [0]


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        ("", {}),
        ([], {}),
        ({"text": [""], "answer_start": [-1]}, {}),
        ("", {"is_impossible": "True"}),
        (None, {"is_impossible": True}),
        ({"text": None, "answer_start": None}, {"is_impossible": True}),
    ],
)
def test_a_question_without_an_answer_needs_a_threshold(answers: Any, more: dict[str, Any]) -> None:
    assert answers_of(answers, more=more, may_lack=True) == [Answers((), (-1, -1))]
    with pytest.raises(DataError, match="no answer; questions without one need"):
        answers_of(answers, more=more)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"text": ["Ida"]}, "has no answer_start and occurs 2 times"),
        ("Eva", "has no answer_start and occurs 0 times in the context; task.misplaced_answers=mend"),
        ("{c: d}", "occurs 0 times"),
        (None, "expected {text"),
        (5, "expected {text"),
        (
            {"text": "Ida", "answer_start": 15},
            "there is 'ot '; it occurs 2 times in the context; task.misplaced_answers=mend",
        ),
    ],
)
def test_an_answer_without_one_certain_place_is_refused(answers: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        answers_of({"text": "not Ida"}, answers, may_lack=True)
    assert caught.value.row == 1
    with pytest.raises(DataError, match="is_impossible is true, but there are answers"):
        answers_of({"text": "not Ida"}, more={"is_impossible": True}, may_lack=True)


def test_what_is_mended_is_said_with_its_rows() -> None:
    said: dict[str, list[int]] = {}
    answers = [
        {"text": [text], "answer_start": [start]} for text, start in (("Ida", 17), ("Ida", 18), ("Eva", 0))
    ]
    found = answers_of(*answers, "Ida", misplaced="mend", notes=said)
    assert [answer.span for answer in found] == [(18, 21), (18, 21), (-2, -2), (0, 3)]
    assert [(sentence.rpartition(" ")[2], rows) for sentence, rows in said.items()] == [
        ("it", [0]),  # where it occurs nearest to it
        ("on", [2]),  # judged, and not trained on
        ("occurs", [3]),
    ]
