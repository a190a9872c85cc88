"""Which examples when: every example once an epoch, the same on any number of ranks, cut within bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runwright.store import bytes_digest
from runwright.trainer.batches import Batches, Cut, assign, cut_batch, extend_ledger
from runwright.trainer.ranks import ALONE

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def in_order(count: int, *, batch_size: int, seed: int) -> Batches:
    task: Any = None
    examples: Any = range(count)
    return Batches(examples, task, batch_size=batch_size, seed=seed, cut=Cut())


@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 2**32))
def test_an_epoch_has_every_example_once(count: int, batch_size: int, seed: int) -> None:
    order = in_order(count, batch_size=batch_size, seed=seed)
    for epoch in (0, 3):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        seen = np.concatenate([order.positions(step) for step in steps])
        assert sorted(seen) == list(range(count))


def test_order_is_a_function_of_seed_and_step_not_of_history() -> None:
    walked = in_order(100, batch_size=8, seed=3)
    for step in range(41):
        walked.positions(step)
    jumped = in_order(100, batch_size=8, seed=3)
    assert walked.positions(40).tolist() == jumped.positions(40).tolist()
    assert in_order(100, batch_size=8, seed=4).positions(40).tolist() != jumped.positions(40).tolist()


@given(LENGTHS, st.integers(1, 10), st.integers(1, 200))
def test_a_cut_keeps_every_example_and_its_bounds(lengths: list[int], size: int, tokens: int) -> None:
    for cut in (Cut(microbatch_size=size), Cut(microbatch_tokens=tokens), Cut()):
        parts = cut_batch(lengths, cut)
        longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        assert [place for part in parts for place in part] == longest_first
        for number, part in enumerate(parts, start=1):
            assert cut.microbatch_size is None or len(part) <= size
            widest = max(lengths[place] for place in part)
            assert cut.microbatch_tokens is None or len(part) * widest <= tokens or len(part) == 1
            if number < len(parts):  # one more would be too many
                more = len(part) + 1
                assert more > (cut.microbatch_size or more) or more * widest > (cut.microbatch_tokens or 1e9)


@given(LENGTHS, st.integers(1, 6))
def test_every_microbatch_is_run_by_one_rank(costs: list[int], ranks: int) -> None:
    shares = assign(costs, ranks)
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)


def test_the_costliest_microbatches_are_given_away_first_and_of_equals_the_first() -> None:
    assert assign([1, 2, 1], 2) == [[1], [0, 2]]
    assert assign([2, 3, 3], 3) == [[1], [2], [0]]


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_together_have_the_batch_of_one_process(ranks: int, make_task: Any, make_examples: Any) -> None:
    task = make_task()
    examples = make_examples(task, 10)
    cut = Cut(microbatch_size=3)
    for step in (0, 1):  # the second batch has 2 examples: some ranks get nothing
        alone = Batches(examples, task, batch_size=8, seed=0, cut=cut).at(step)
        parts = [
            Batches(
                examples,
                task,
                batch_size=8,
                seed=0,
                cut=cut,
                ranks=replace(ALONE, rank=rank, num_ranks=ranks),
            ).at(step)
            for rank in range(ranks)
        ]
        together = {m.index: m.batch["example_ids"].tolist() for part in parts for m in part.microbatches}
        assert together == {m.index: m.batch["example_ids"].tolist() for m in alone.microbatches}
        assert {part.ledger for part in parts} == {alone.ledger}


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_that_run_together_run_as_many_microbatches(
    ranks: int, make_task: Any, make_examples: Any
) -> None:
    task = make_task()
    examples = make_examples(task, 10)
    cut = Cut(microbatch_size=3)
    for step in (0, 1):
        parts = [
            Batches(
                examples,
                task,
                batch_size=8,
                seed=0,
                cut=cut,
                ranks=replace(ALONE, rank=r, num_ranks=ranks, sharded=True),
            ).at(step)
            for r in range(ranks)
        ]
        assert len({len(part.microbatches) + len(part.fillers) for part in parts}) == 1
        assert sum(len(part.microbatches) for part in parts) == len(parts[0].sizes)
        assert min(len(part.fillers) for part in parts) == 0
        ids = {i for part in parts for m in part.microbatches for i in m.batch["example_ids"].tolist()}
        assert {i for part in parts for f in part.fillers for i in f.batch["example_ids"].tolist()} <= ids


def test_batches_prepared_ahead_are_the_batches_asked_for(make_task: Any, make_examples: Any) -> None:
    task = make_task()
    batches = Batches(make_examples(task, 20), task, batch_size=6, seed=0, cut=Cut())
    assert [batch.ledger for batch in batches.iterate(2, 7)] == [
        batches.at(step).ledger for step in range(2, 7)
    ]
    assert list(batches.iterate(3, 3)) == []


def test_the_ledger_tells_order_and_content() -> None:
    first, second = bytes_digest(np.array([1, 2, 3])), bytes_digest(np.array([1, 3, 2]))
    assert first != second
    assert extend_ledger(extend_ledger("", first), second) != extend_ledger(extend_ledger("", second), first)


def test_padding_of_examples_of_several_texts_is_that_of_their_batches(tokenizer: Any) -> None:
    from runwright.dataset.examples import PreparedExamples, record_batch
    from runwright.task.sentence_embedding import SentenceEmbedding

    task = SentenceEmbedding(
        tokenizer, problem="retrieval", text_column="a", text_pair_column="b", negative_column=None,
        label_column=None, label_min=0.0, label_max=1.0, pooling="mean", normalize=True,
        objective="in_batch_negatives", scale=20.0, margin=0.5, max_length=64,
    )  # fmt: skip
    short, long = ["good"] * 12, [" ".join(["film"] * (n % 5 + 1)) for n in range(12)]
    encoded = task.encode({"row_id": list(range(12)), "a": short, "b": long})
    examples = PreparedExamples([record_batch(encoded)], cache_note="")
    for cut in (Cut(microbatch_size=3), Cut(microbatch_tokens=24)):
        batches = Batches(examples, task, batch_size=12, seed=0, cut=cut)
        batch = batches.at(0)
        shapes = [part.batch["input_ids"].shape for part in batch.microbatches]
        assert batch.padded_tokens == sum(rows * width for rows, width in shapes)
        assert batch.real_tokens == sum(
            int(part.batch["attention_mask"].sum()) for part in batch.microbatches
        )
        if cut.microbatch_tokens:
            assert all(rows * width <= 24 for rows, width in shapes)
