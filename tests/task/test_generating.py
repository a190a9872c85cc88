"""Tasks that generate: losses beside texts, texts beside references, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from runwright.dataset.examples import PreparedExamples, record_batch
from runwright.generation.strategies import Beam, Greedy
from runwright.predictions import Ragged, pack, unpack
from runwright.task.generating import END, Texts
from runwright.task.sequence_to_sequence import SequenceToSequence
from runwright.tokenizer.algorithms import Corpus, Words
from runwright.tokenizer.trained import train
from runwright.trainer.evaluate import predict
from runwright.trainer.ranks import Ranks

COMMON: dict[str, Any] = {
    "max_new_tokens": 6, "min_new_tokens": 0, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0,
    "stop_strings": [],
}  # fmt: skip
BEAMS = Beam(**COMMON, num_beams=3, length_penalty=1.0, early_stopping=True, num_return_sequences=2)
ROWS: dict[str, Any] = {
    "row_id": [4, 7, 9],
    "source": ["a b c", "d", "b b a d c a b"],
    "target": ["c b a", ["d", "d d"], "a"],
}


@pytest.fixture(scope="module")
def make_task() -> Callable[..., SequenceToSequence]:
    corpus = Corpus(batches=lambda: iter([["a b c d"] * 3]), state={}, name="words")
    tokenizer = train(
        corpus, columns=None, family="roberta", extra_tokens=[], normalizer=[], replace={},
        pre_tokenizer=["whitespace"], model=Words(vocab_size=20, min_frequency=1), post_processor=None,
        decoder=None, padding_side="right",
    )  # fmt: skip

    def make(strategy: Any) -> SequenceToSequence:
        task = SequenceToSequence(
            tokenizer, source_column="source", target_column="target", prefix="", max_length=20,
            max_target_length=20, source_language=None, target_language=None, forced_first_token=None,
            label_smoothing=0.0, target_tokenizer=None,
        )  # fmt: skip
        task.strategy = strategy
        return task

    return make


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    options: dict[str, Any] = {"decoder_start_token_id": 1}
    config = T5Config(
        vocab_size=9, d_model=16, d_kv=8, num_layers=1, num_heads=2, d_ff=16, pad_token_id=1, eos_token_id=2,
        dropout_rate=0.0, **options,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


def evaluated(
    task: SequenceToSequence, model: Any, *, max_tokens: int = 10_000, labelled: bool = True
) -> Any:
    columns = {"row_id": ROWS["row_id"], "source": ROWS["source"]}
    if labelled:
        columns["labels"] = task.read_labels(ROWS, split="test")  # type: ignore[arg-type]
    examples = PreparedExamples([record_batch(task.encode(columns))], cache_note="")
    ranks = Ranks(rank=0, num_ranks=1, device=torch.device("cpu"))
    return predict(model, task, examples, max_tokens=max_tokens, ranks=ranks)


def test_an_evaluation_gives_losses_and_texts_beside_references(make_task: Any, model: Any) -> None:
    task = make_task(Greedy(**COMMON))
    texts = task.assemble(evaluated(task, model), ROWS)
    assert texts.expected.tolist() == [["c b a"], ["d", "d d"], ["a"]]
    assert texts.loss_counts.tolist() == [5, 3, 3]  # with <s> and </s>
    without = make_task(None).assemble(evaluated(make_task(None), model), ROWS)
    assert without.predicted is None
    assert without.losses.tolist() == pytest.approx(texts.losses.tolist(), abs=1e-5)
    assert without.labelled
    assert all(isinstance(text, str) for text in texts.predicted)
    assert texts.prompts.tolist() == ROWS["source"]


def test_batches_of_an_evaluation_change_no_text(make_task: Any, model: Any) -> None:
    for strategy in (Greedy(**COMMON), BEAMS):
        task = make_task(strategy)
        whole, single = evaluated(task, model), evaluated(task, model, max_tokens=1)
        assert [ids.tolist() for ids in whole.generated.rows()] == [
            ids.tolist() for ids in single.generated.rows()
        ]


def test_records_without_a_target_have_texts_and_no_loss(make_task: Any, model: Any) -> None:
    task = make_task(BEAMS)
    texts = task.assemble_records(evaluated(task, model, labelled=False), ROWS)
    assert texts.losses is None
    assert not texts.labelled
    assert [len(several) for several in texts.predicted] == [2, 2, 2]


def test_texts_count_with_all_their_tokens_towards_a_batch(make_task: Any) -> None:
    widths = np.array([3, 5])
    assert make_task(None).evaluation_widths(widths).tolist() == [3, 5]
    assert make_task(Greedy(**COMMON)).evaluation_widths(widths).tolist() == [9, 11]
    assert make_task(BEAMS).evaluation_widths(np.array([[3, 2], [5, 1]])).tolist() == [33, 36]


def test_a_text_ends_before_the_first_stop_string_and_special_tokens(make_task: Any) -> None:
    task = make_task(Greedy(**dict(COMMON, stop_strings=["d", "c"])))
    ids = task.tokenizer("a b c d")["input_ids"]
    assert task.text_of(ids) == "a b"
    assert make_task(None).text_of(ids) == "a b c d"


def test_generated_ids_travel_between_processes(make_task: Any) -> None:
    generated = Ragged.of([[5, END, 6, END], [END, END]], dtype=np.int64)
    sent = unpack(Texts, pack(Texts(example_ids=np.array([4, 7]), generated=generated)))
    texts = make_task(BEAMS)._texts(sent)
    names = make_task(BEAMS).tokenizer.convert_ids_to_tokens([5, 6])
    assert texts.tolist() == [names, ["", ""]]


def test_some_texts_are_shown_with_the_end_of_their_prompts(make_task: Any) -> None:
    column = np.fromiter(["x" * 400, "y"], dtype=object)
    references = np.fromiter([["one"], ["one", "two"]], dtype=object)
    texts = Texts(example_ids=np.array([4, 7]), predicted=column, expected=references, prompts=column)
    first, second = make_task(BEAMS).tables(texts)["samples"]
    assert first == {"row_id": 4, "prompt": "x" * 300, "expected": "one", "predicted": "x" * 400}
    assert second["expected"] == "one | two"
    described = make_task(BEAMS).describe(texts, 1, row={}, all_scores=False)
    assert described == {"predicted": "y", "expected": ["one", "two"]}
