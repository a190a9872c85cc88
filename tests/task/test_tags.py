"""Tags in the schemes and ways of writing that tools have, and spans of characters turned into them."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.build import build_task
from runwright.config.compose import compose_checked
from runwright.config.tag_schemes import LETTERS, Scheme, Tag, find_spans, misfits, scheme_problem, tags_over
from runwright.errors import DataError
from runwright.task.tags import RowReader, learn_tags, read_tags
from runwright.task.text import shared_pieces, split_words

BIOES = ["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in "ab")]
SCHEMES: list[Any] = [scheme for scheme in LETTERS if scheme not in ("plain", "ioe", "bio")]


def reader(**options: Any) -> RowReader:
    usual: dict[str, Any] = {
        "words_column": "words",
        "text_column": "text",
        "tags_column": "tags",
        "scheme": "bio",
    }
    return RowReader(**usual | options)


def tags_of(text: str, marks: Any, **options: Any) -> str:
    """The tags of one text, separated by spaces."""
    rows = reader(**options).tags(Dataset.from_dict({"text": [text], "tags": [marks]}), split="train")
    assert rows is not None
    return " ".join(rows[0])


def test_a_text_that_is_none_is_named_by_its_row() -> None:
    with pytest.raises(DataError, match="where a text is expected") as caught:
        reader().words({"text": ["a", {"b": 1}]})
    assert (caught.value.row, caught.value.column) == (1, "text")


# --- schemes ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(tags=st.lists(st.sampled_from(BIOES), max_size=8), scheme=st.sampled_from(SCHEMES))
def test_other_letters_make_the_spans_that_bioes_makes(tags: list[str], scheme: Scheme) -> None:
    letters = {meaning: letter for letter, meaning in LETTERS[scheme].items()}
    others = [tag if tag == "O" else letters[tag[0]] + tag[1:] for tag in tags]
    spans = find_spans(tags, scheme="bioes")  # those of seqeval, see test_token_classification
    assert find_spans(others, scheme=scheme) == spans


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", "I-a", "E-a", "I-b", "E-b"]), min_size=1, max_size=8))
def test_spans_that_say_where_they_end_are_those_of_seqeval(tags: list[str]) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    expected = [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
    found = find_spans(tags, scheme="ioe")
    assert [(span.type, span.start, span.end) for span in found] == expected


@pytest.mark.parametrize(
    ("begin", "inside", "outside"),
    [("B_per", "I_per", "O"), ("per-B", "per-I", "O"), ("per_B", "per_I", "O"), ("b-per", "i-per", "o")],
)
def test_tags_written_otherwise_are_the_same_spans(begin: str, inside: str, outside: str) -> None:
    tags = [begin, inside, outside, begin]
    found = find_spans(tags, scheme="bio")
    assert [tuple(span) for span in found] == [(0, 2, "per"), (3, 4, "per")]
    rows = Dataset.from_dict({"words": [["w"] * 4, ["w"]], "tags": [tags, [outside]]})
    assert learn_tags(reader(), rows) == (outside, begin, inside)
    assert learn_tags(reader(), rows.select([0]).remove_columns("words")) == (outside, begin, inside)


def test_tags_without_types_are_spans_of_one_type() -> None:
    found = find_spans(["B", "I", "O", "B"], scheme="bio")
    assert [tuple(span) for span in found] == [(0, 2, "span"), (3, 4, "span")]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (
            "O B-x L-x U-x",
            "'L-x' is no tag of task.scheme=bio, which has O, B-type, I-type; task.scheme=bilou has",
        ),
        ("B-x M-x E-x S-x", "task.scheme=bmes has all"),
        ("B-x M-x E-x W-x O", "task.scheme=bmewo has all"),
        ("O E-x I-x", "task.scheme=bioes or ioe has all"),
        ("B-x I-x O Bx", "'Bx' is no tag of task.scheme=bio"),
        ("0 1", "as a type; numbers need their names: task.tag_names=[…]"),
        ("NOUN VERB", "task.scheme=plain takes each tag as a type"),
    ],
)
def test_the_scheme_that_fits_is_named(tags: str, message: str) -> None:
    assert message in scheme_problem(misfits(tags.split(), "bio")[0], tags.split(), "bio")


# --- spans of characters ------------------------------------------------------------------------------

TEXT = "Ana Lima lives in Porto."
EXPECTED = "B-PER I-PER O O B-LOC O"
RESULT = [{"value": {"start": s, "end": e, "text": t, "labels": [k]}, "type": "labels"}
          for s, e, t, k in ((0, 8, "Ana Lima", "PER"), (18, 23, "Porto", "LOC"))]  # fmt: skip


@pytest.mark.parametrize(
    "marks",
    [
        '[[0, 8, "PER"], [18, 23, "LOC"]]',  # doccano, spaCy
        [{"id": 7, "label": "PER", "start_offset": 0, "end_offset": 8},
         {"id": 8, "label": "LOC", "start_offset": 18, "end_offset": 23}],  # doccano's relations
        [{"start": 0, "end": 9, "token_start": 0, "token_end": 1, "label": "PER"},  # a space too many
         {"start": 18, "end": 23, "token_start": 4, "token_end": 4, "label": "LOC"}],  # Prodigy
        [each["value"] for each in RESULT],  # Label Studio, JSON_MIN
        [{"id": 1, "result": [*RESULT, {"from_id": "a", "to_id": "b", "type": "relation"}]}],  # JSON
        {"start": [0, 18], "end": [8, 23], "label": ["PER", "LOC"]},  # a hub's sequence of records
        [{"type": "PER", "text": "Ana Lima", "start": 0, "end": 8, "score": 0.9},
         {"type": "LOC", "text": "Porto", "start": 18, "end": 23, "score": 0.8}],  # our own predictions
        "[(0, 8, 'PER'), (18, 23, 'LOC'), (18, 23, 'LOC')]",  # written by pandas, one twice
    ],
)  # fmt: skip
def test_spans_of_annotation_tools_become_tags(marks: Any) -> None:
    assert tags_of(TEXT, marks) == EXPECTED
    assert tags_of(TEXT, marks, scheme="bilou") == "B-PER L-PER O O U-LOC O"
    assert tags_of(TEXT, marks, scheme="plain") == "PER PER O O LOC O"


def test_offsets_count_characters() -> None:
    assert tags_of("😀 Zoë! is", '[[2, 6, "PER"]]') == "O B-PER I-PER O"


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([[0, 2, "PER"]], r"'An', cuts a word of 'Ana'$"),
        ([[0, 3, "A"], [0, 8, "B"]], r"'Ana Lima', overlaps another one$"),
        ([[0, 99, "A"]], "not in the text of 24 characters$"),
        ([[8, 9, "A"]], "holds no word$"),
        ([[3, 3, "A"]], "not in the text"),
        ([{"start": 0, "end": 3, "label": "A", "text": "Bea"}], "'Ana', should be 'Bea'$"),
        ([{"start": 0, "end": 3}], "expected a span"),
        ({"start": 0, "end": 3, "label": "A"}, "expected lists of as many"),
        ({"start": [0], "end": [3, 4], "label": ["A"]}, "expected lists of as many"),
        ([{"start": 0, "end": 3, "labels": ["A", "B"]}], "expected a span"),
        ([{"result": RESULT}, {"result": []}], "2 annotations of one text"),
    ],
)
def test_a_span_that_does_not_fit_is_refused(marks: Any, message: str) -> None:
    marks = str(marks)
    with pytest.raises(DataError, match=message) as caught:
        tags_of(TEXT, marks)
    assert (caught.value.row, caught.value.column) == (0, "tags")


def test_scripts_without_spaces_are_split_into_characters() -> None:
    text = "王小明住在Berlin。ที่นี่"
    assert [text[start:end] for start, end in split_words(text)] == [
        "王", "小", "明", "住", "在", "Berlin", "。", "ที่", "นี่",
    ]  # fmt: skip
    assert tags_of(text, '[[0, 3, "PER"], [5, 11, "LOC"]]') == "B-PER I-PER I-PER O O B-LOC O O O"


def test_letters_that_share_a_piece_share_its_tag() -> None:
    assert shared_pieces("我在北京市。", [(n, n + 1) for n in range(6)], {0, 1, 2, 5}) == [range(2, 5)]
    assert shared_pieces("a b", [(0, 1), (2, 3)], {0}) == []  # a word that makes no piece
    names = {"B": "B-x I-x I-x", "I": "I-x I-x I-x", "E": "I-x I-x E-x", "S": "B-x I-x E-x"}
    for letter, expected in names.items():
        assert tags_over(Tag(letter, "x", "{letter}-{type}"), 3, "bioes") == expected.split()
    assert tags_over(Tag("S", "x", "{type}_{lower}"), 2, "ioe") == ["x_i", "x_e"]


# --- lists written as text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        ("['Ana', 'lives']", "['B-PER', 'O']"),
        ("['Ana' 'lives']", "['B-PER' 'O']"),
        ('["Ana", "lives"]', '["B-PER", "O"]'),
        ("Ana lives", "B-PER O"),
        (["Ana", "lives"], "B-PER O"),
    ],
)
def test_words_and_tags_in_cells_are_read_and_said(words: Any, tags: Any) -> None:
    rows, said = Dataset.from_dict({"words": [words], "tags": [tags]}), {}
    assert read_tags(reader(), rows, ["O", "B-PER"], split="train", notes=said) == [[1, 0]]
    assert reader().words(rows)[0] == ["Ana lives"]
    assert bool(said) == isinstance(words, str)


def test_a_text_of_words_keeps_its_characters() -> None:
    assert reader().words({"words": ["Ana  lives, here"]}) == (
        ["Ana  lives, here"],
        [[(0, 3), (5, 11), (12, 16)]],
    )
    assert reader().words({"text": ["[1]"]})[0] == ["[1]"]  # no list of words, but a text


def test_words_or_texts_are_what_explore_shows() -> None:
    config = compose_checked(
        [*["dataset=conll", "dataset.source.files.train=x", "task=token_classification", "metric=[]"]]
    ).config
    task = build_task(config, None)
    assert task.texts_in(["words", "tags", "text"]) == task.columns_in(["words"]) == ("words",)
    assert task.texts_in(["text", "entities"]) == ("text",)
    assert task.texts_in(["tokens"]) == ("words",)


def test_a_list_that_cannot_be_read_for_certain_is_refused() -> None:
    rows = Dataset.from_dict({"words": ["[Ana, lives]"], "tags": ["['B-PER', 'O']"]})
    with pytest.raises(DataError, match="written as text that cannot be read for certain; write it as JSON"):
        read_tags(reader(), rows, ["O", "B-PER"], split="train")
