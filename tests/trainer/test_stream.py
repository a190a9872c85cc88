"""Batches of a stream: each example once an epoch, alike from any position on and on any number of ranks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from runwright.dataset.examples import EncodedStream
from runwright.dataset.readers.files import read_json
from runwright.errors import DataError
from runwright.trainer.batches import Cut, StreamBatches
from runwright.trainer.ranks import ALONE

WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@pytest.fixture
def make_stream(tmp_path: Path, make_task: Any) -> Callable[..., EncodedStream]:
    """A stream of files with so many rows each; the text of a row is one word for every row before it."""

    def make(*sizes: int, labels: str = "xyz", task: Any = None) -> EncodedStream:
        files = []
        for number, size in enumerate(sizes):
            rows = [
                {"text": " ".join(WORDS[: row % 12 + 1]), "label": labels[row % len(labels)]}
                for row in range(size)
            ]
            path = tmp_path / f"{number}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            files.append(str(path))
        source = read_json(files={"train": files}, folder=None, encoding="utf-8", field=None, streaming=True)
        task = task or make_task()
        return EncodedStream(
            rows=source["train"],
            kinds={"text": "text"},
            inputs_of=lambda rows: task.inputs_of(rows, split="train"),
            encode=task.encode,
        )

    return make


@pytest.fixture
def make_batches(make_task: Any) -> Callable[..., StreamBatches]:
    def make(stream: Any, **options: Any) -> StreamBatches:
        defaults: dict[str, Any] = {"batch_size": 4, "shuffle_buffer": 7, "seed": 3, "cut": Cut()}
        task = options.pop("task", None) or make_task()
        return StreamBatches(stream, task, **defaults | options)

    return make


def ids(batch: Any) -> list[int]:
    return [number for part in batch.microbatches for number in part.batch["example_ids"].tolist()]


def flat(steps: list[list[int]]) -> list[int]:
    return [number for step in steps for number in step]


def first_ids(batches: StreamBatches, num_steps: int) -> list[list[int]]:
    return [ids(batch) for batch in batches.iterate(0, num_steps)]


@pytest.mark.parametrize("shuffle_buffer", [1, 4, 7, 23, 1000])
def test_an_epoch_has_every_example_once(make_stream: Any, make_batches: Any, shuffle_buffer: Any) -> None:
    steps = first_ids(make_batches(make_stream(14, 9), shuffle_buffer=shuffle_buffer), 18)
    for epoch in range(3):  # 23 rows are 6 batches, the last of 3
        of_epoch = steps[6 * epoch : 6 * epoch + 6]
        assert [len(step) for step in of_epoch] == [4, 4, 4, 4, 4, 3]
        assert sorted(flat(of_epoch)) == list(range(23))


def test_rows_are_shuffled_within_the_buffer_and_anew_in_each_epoch(
    make_stream: Any, make_batches: Any
) -> None:
    steps = first_ids(make_batches(make_stream(40), shuffle_buffer=20, batch_size=20), 6)
    first, second = flat(steps[:2]), flat(steps[2:4])
    assert sorted(first[:20]) == list(range(20))
    assert first != sorted(first)
    assert first != second
    batches = make_batches(make_stream(40), shuffle_buffer=20, batch_size=5)
    fives = [sorted(step) for step in first_ids(batches, 8)]
    assert [[number - 20 for number in step] for step in fives[4:]] != fives[:4]  # nor alike in two windows
    whole = flat(first_ids(make_batches(make_stream(40), shuffle_buffer=10**9, batch_size=40), 2))
    assert whole[:40] != whole[40:]
    other_seed = first_ids(make_batches(make_stream(40), shuffle_buffer=20, batch_size=20, seed=4), 2)
    assert flat(other_seed) != first


def test_the_borders_of_the_buffer_move_with_the_epochs(make_stream: Any, make_batches: Any) -> None:
    batches = make_batches(make_stream(40), shuffle_buffer=10, batch_size=1)
    steps = [number for (number,) in first_ids(batches, 400)]
    firsts = [max(steps[40 * epoch : 40 * epoch + 10]) for epoch in range(10)]
    assert firsts[0] == 9
    assert len(set(firsts)) > 3


def test_with_a_buffer_of_one_row_the_order_is_that_of_the_files(make_stream: Any, make_batches: Any) -> None:
    batches = make_batches(make_stream(5, 6), shuffle_buffer=1)
    assert [sorted(step) for step in first_ids(batches, 3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_from_any_position_the_batches_are_those_of_the_unbroken_run(
    make_stream: Any, make_batches: Any
) -> None:
    stream = make_stream(14, 9)
    whole = list(make_batches(stream).iterate(0, 20))
    for step in range(19):
        resumed = make_batches(stream)
        resumed.resume(json.loads(json.dumps(whole[step].position)))
        later = list(resumed.iterate(step + 1, 20))
        assert [batch.step for batch in later] == list(range(step + 1, 20))
        assert [ids(batch) for batch in later] == [ids(batch) for batch in whole[step + 1 :]]
        assert [batch.ledger for batch in later] == [batch.ledger for batch in whole[step + 1 :]]
        assert [batch.position for batch in later] == [batch.position for batch in whole[step + 1 :]]


def test_a_position_is_a_few_numbers(make_stream: Any, make_batches: Any) -> None:
    for batch in make_batches(make_stream(500), shuffle_buffer=100).iterate(0, 60):
        assert len(json.dumps(batch.position)) < 250


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_together_have_the_batch_of_one_process(
    ranks: int, make_stream: Any, make_batches: Any
) -> None:
    stream, cut = make_stream(14, 9), Cut(microbatch_size=2)
    alone = list(make_batches(stream, cut=cut).iterate(0, 7))
    shares = [
        list(make_batches(stream, cut=cut, ranks=replace(ALONE, rank=r, num_ranks=ranks)).iterate(0, 7))
        for r in range(ranks)
    ]
    for step, expected in enumerate(alone):
        parts = [share[step] for share in shares]
        together = {m.index: m.batch["example_ids"].tolist() for part in parts for m in part.microbatches}
        assert together == {m.index: m.batch["example_ids"].tolist() for m in expected.microbatches}
        assert {part.ledger for part in parts} == {expected.ledger}
        assert all(part.position == expected.position for part in parts)


def test_chance_is_seeded_by_the_epoch(make_stream: Any, make_batches: Any, make_task: Any) -> None:
    task = make_task()
    seen: list[tuple[int, int]] = []

    def augment(examples: Sequence[Any], *, seed: int, epoch: int) -> list[Any]:
        seen.append((seed, epoch))
        return list(examples)

    task.augment = augment
    list(make_batches(make_stream(10), task=task).iterate(0, 6))
    assert seen[:6] == [(3, 0)] * 3 + [(3, 1)] * 3


def test_in_other_files_the_epoch_of_a_position_begins_anew(make_stream: Any, make_batches: Any) -> None:
    *_, batch = make_batches(make_stream(10)).iterate(0, 4)  # the first of epoch 1
    assert batch.position["epoch"] == 1
    whole = make_batches(make_stream(11))
    expected = [ids(each) for each in whole.iterate(0, 6)][3:]  # 11 rows, 4 a step
    resumed = make_batches(make_stream(11))
    resumed.resume(batch.position)
    assert [ids(each) for each in resumed.iterate(4, 7)] == expected


def test_a_bad_label_is_named_when_its_row_comes(make_stream: Any, make_batches: Any) -> None:
    stream = make_stream(20, 20, labels="xyzxyzxyzxyzxyzxyzx?")
    with pytest.raises(DataError) as caught:
        list(make_batches(stream).iterate(0, 10))
    assert caught.value.row == 19
    assert caught.value.file is not None
    assert caught.value.file.endswith("0.jsonl")
    assert "'?'" in str(caught.value)


def test_windows_without_an_example_are_passed_over(make_stream: Any, make_batches: Any) -> None:
    stream = make_stream(30)
    encode = stream.encode
    object.__setattr__(stream, "encode", lambda rows: [e for e in encode(rows) if e["example_id"] % 20 < 3])
    steps = first_ids(make_batches(stream, batch_size=6), 4)
    assert [sorted(step) for step in steps] == [[0, 1, 2, 20, 21, 22]] * 4
    object.__setattr__(stream, "encode", lambda rows: [])
    with pytest.raises(DataError, match="no examples came of the stream"):
        next(make_batches(stream).iterate(0, 1))


def test_stopping_does_not_wait_for_the_next_window(make_stream: Any, make_batches: Any) -> None:
    stream = make_stream(12_000)
    encode = stream.encode

    def slow(rows: Any) -> list[Any]:
        time.sleep(0.3 if rows["row_id"][0] >= 6000 else 0.0)  # a block of 1,000 rows
        return encode(rows)

    object.__setattr__(stream, "encode", slow)
    steps = make_batches(stream, shuffle_buffer=6000).iterate(0, 1000)
    assert len(list(islice(steps, 3))) == 3
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 1  # the second window takes 1.8 seconds
