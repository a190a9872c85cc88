import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runwright import store
from runwright.dataset.examples import prepare_examples
from runwright.errors import DataError

KEY = {"data": "d1", "tokenizer": "t1", "task": {"max_length": 64, "columns": ["text"]}}


def entries(folder):
    return [file.parent for file in folder.glob("[!.]*/manifest.json")]


def rows_of(count):
    return lambda: Dataset.from_dict({"row_id": list(range(count))})


def encode(batch):
    """Row n becomes n % 7 + 1 tokens."""
    return [
        {"example_id": n, "input_ids": list(range(n % 7 + 1)), "labels": n % 3, "weight": n / 4}
        for n in batch["row_id"]
    ]


def expected(n):
    return {"example_id": n, "input_ids": list(range(n % 7 + 1)), "labels": n % 3, "weight": n / 4}


@pytest.mark.parametrize("kept", [True, False])
def test_examples_come_back_by_position_and_in_the_order_asked_for(tmp_path, kept):
    examples = prepare_examples(rows_of(2500), encode, key=KEY, folder=tmp_path if kept else None)
    assert len(examples) == 2500
    assert examples.fetch([2499, 0, 1000, 999, 0]) == [expected(n) for n in (2499, 0, 1000, 999, 0)]
    assert examples.lengths.tolist() == [n % 7 + 1 for n in range(2500)]
    assert examples.lengths.dtype == np.int64
    with pytest.raises(IndexError):
        examples.fetch([2500])


def test_several_processes_give_the_same_bytes_and_end(tmp_path):
    def encode_and_tell(batch):
        if 2100 in batch["row_id"] and len(batch["row_id"]) < 1000 and os.environ.get("FAILS"):
            raise DataError("no such thing", row=batch["row_id"].index(2100))
        return [{**example, "process": os.getpid()} for example in encode(batch)]

    examples = prepare_examples(rows_of(2500), encode_and_tell, key=KEY, folder=None, num_processes=2)
    assert os.getpid() not in set(examples.column("process").tolist())
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders, start=1):
        prepare_examples(rows_of(2500), encode, key=KEY, folder=folder, num_processes=number)
    one, two = ({p.name: p.read_bytes() for p in f.rglob("*.arrow")} for f in folders)
    assert one == two
    assert [p.name for p in entries(folders[0])] == [p.name for p in entries(folders[1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILS", "1")
        with pytest.raises(DataError, match="row 100: no such thing") as caught:
            prepare_examples(rows_of(2500), encode_and_tell, key=KEY, folder=None, num_processes=2)
    assert caught.value.row == 100


def test_a_worker_that_is_killed_is_told(tmp_path):
    def die(batch):
        os.kill(os.getpid(), 9)
        return encode(batch)

    with pytest.raises(DataError, match=r"was killed, as for want of memory: lower dataset\.num_processes"):
        prepare_examples(rows_of(2500), die, key=KEY, folder=None, num_processes=2)


class OddError(Exception):
    """One that the process which is to learn of it cannot make again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def test_an_error_that_cannot_be_sent_is_told_all_the_same():
    def fail(batch):
        raise OddError("this row", batch["row_id"][0])

    with pytest.raises(RuntimeError, match="OddError: this row "):
        prepare_examples(rows_of(2500), fail, key=KEY, folder=None, num_processes=2)


tokens = st.lists(st.integers(-100, 2**31 - 1), max_size=5)


real_pairs = st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)


@given(data=st.lists(st.tuples(tokens, real_pairs), min_size=1))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_lists_of_whole_and_real_numbers_come_back_as_they_were(tmp_path, data):
    examples = [{"example_id": n, "input_ids": i, "labels": y} for n, (i, y) in enumerate(data)]

    def take(batch):
        return [examples[n] for n in batch["row_id"]]

    folder = tmp_path / str(time.monotonic_ns())
    assert (
        prepare_examples(rows_of(len(data)), take, key=KEY, folder=folder).fetch(range(len(data))) == examples
    )


def test_the_second_time_nothing_is_encoded(tmp_path):
    first = prepare_examples(rows_of(10), encode, key=KEY, folder=tmp_path)
    second = prepare_examples(rows_of(10), lambda batch: pytest.fail("encoded"), key=KEY, folder=tmp_path)
    assert first.cache_note == "prepared now"
    assert second.cache_note == "taken from the cache"
    assert second.fetch(range(10)) == first.fetch(range(10))


@pytest.mark.parametrize(
    "change",
    [
        *({"code": "c2"}, {"tokenizer": "t2"}, {"task": {"max_length": 32, "columns": ["text"]}}),
        *({"data": "d2"}, {"split": "test"}, {"rows": "r1"}),
    ],
)
def test_another_key_is_another_set(tmp_path, change):
    prepare_examples(rows_of(3), encode, key=KEY, folder=tmp_path)
    assert (
        prepare_examples(rows_of(3), encode, key=KEY | change, folder=tmp_path).cache_note == "prepared now"
    )


def test_a_set_of_another_format_is_not_read(tmp_path, monkeypatch):
    prepare_examples(rows_of(3), encode, key=KEY, folder=tmp_path)
    monkeypatch.setattr("runwright.dataset.examples._FORMAT", 0)
    assert prepare_examples(rows_of(3), encode, key=KEY, folder=tmp_path).cache_note == "prepared now"


@pytest.mark.parametrize("damage", ["truncate", "empty", "delete", "flip"])
def test_a_damaged_set_is_made_anew(tmp_path, damage):
    before = prepare_examples(rows_of(50), encode, key=KEY, folder=tmp_path).fetch(range(50))
    (file,) = tmp_path.glob("*/examples.arrow")
    if damage == "delete":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4  # a token id: nothing but its value is wrong
        file.write_bytes({"truncate": content[:-5], "empty": b"", "flip": content}[damage])
    again = prepare_examples(rows_of(50), encode, key=KEY, folder=tmp_path)
    assert again.cache_note == "prepared now"
    assert again.fetch(range(50)) == before


def test_nothing_is_left_of_a_preparation_that_failed(tmp_path):
    def fail_later(batch):
        if batch["row_id"][0] >= 1000:
            raise KeyError("text")
        return encode(batch)

    with pytest.raises(KeyError):
        prepare_examples(rows_of(2000), fail_later, key=KEY, folder=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert len(prepare_examples(rows_of(2000), encode, key=KEY, folder=tmp_path)) == 2000


def test_examples_must_all_have_the_shape_of_the_first(tmp_path):
    def change_later(batch):
        return [{"input_ids": [1], "labels": "a" if n >= 1000 else 1} for n in batch["row_id"]]

    with pytest.raises(DataError, match="'labels' is not int64"):
        prepare_examples(rows_of(1001), change_later, key=KEY, folder=tmp_path)
    with pytest.raises(DataError, match="no examples"):
        prepare_examples(rows_of(5), lambda batch: [], key=KEY, folder=tmp_path)


def test_sets_unused_for_longest_go_first_beyond_the_limit(tmp_path, monkeypatch):
    for name in "abc":
        prepare_examples(rows_of(100), encode, key={"name": name}, folder=tmp_path)
        time.sleep(0.01)  # file times are the order of use
    prepare_examples(rows_of(100), encode, key={"name": "a"}, folder=tmp_path)  # used again
    size = sum(path.stat().st_size for path in entries(tmp_path)[0].iterdir())
    monkeypatch.setattr("runwright.dataset.examples.MAX_CACHE_BYTES", int(2.5 * size))
    prepare_examples(rows_of(100), encode, key={"name": "d"}, folder=tmp_path)
    left = [json.loads((entry / "manifest.json").read_text())["key"]["name"] for entry in entries(tmp_path)]
    assert sorted(left) == ["a", "d"]


def test_examples_stay_readable_when_the_cache_is_cleaned_meanwhile(tmp_path):
    examples = prepare_examples(rows_of(100), encode, key=KEY, folder=tmp_path)
    assert len(store.evict(tmp_path, max_bytes=-1)) == 1
    assert entries(tmp_path) == []
    assert examples.fetch([99]) == [expected(99)]


PREPARE = """
import sys, time
from pathlib import Path
from datasets import Dataset
from runwright.dataset.examples import prepare_examples

folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{name}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.001)

def encode(batch):
    (folder / f"encoded-{name}-{batch['row_id'][0]}").touch()
    time.sleep(0.1)
    return [{"example_id": n, "input_ids": [n], "labels": 0} for n in batch["row_id"]]

rows = Dataset.from_dict({"row_id": list(range(3000))})
examples = prepare_examples(lambda: rows, encode, key={"data": "same"}, folder=folder / "cache")
assert examples.fetch([2999])[0]["input_ids"] == [2999]
print(examples.cache_note)
"""


def test_of_two_processes_that_want_the_same_one_encodes_and_the_other_waits(tmp_path):
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    notes = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert notes == ["prepared now", "taken from the cache"]
    assert len(list(tmp_path.glob("encoded-*"))) == 3
    assert [process.returncode for process in processes] == [0, 0]


KILLED = """
import os, signal, sys
from pathlib import Path
from datasets import Dataset
from runwright.dataset.examples import prepare_examples

def encode(batch):
    if batch["row_id"][0] >= 1000:
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"input_ids": [n]} for n in batch["row_id"]]

rows = Dataset.from_dict({"row_id": list(range(2000))})
prepare_examples(lambda: rows, encode, key={}, folder=Path(sys.argv[1]))
"""


def test_a_process_killed_while_preparing_leaves_nothing_that_is_taken_for_whole(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert entries(tmp_path) == []
    examples = prepare_examples(rows_of(5), encode, key={}, folder=tmp_path)
    assert examples.fetch([4]) == [expected(4)]


def test_fetching_scattered_examples_is_quick_and_leaks_nothing(tmp_path):
    examples = prepare_examples(rows_of(20_000), encode, key=KEY, folder=tmp_path)
    order = np.random.default_rng(0).permutation(20_000)
    seconds = []

    def sweep():
        for start in range(0, 20_000, 32):
            begun = time.perf_counter()
            examples.fetch(order[start : start + 32])
            seconds.append(time.perf_counter() - begun)

    sweep()
    tracemalloc.start()
    sweep()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.median(seconds[:625]) < 1e-3
    assert grown < 200_000  # the times themselves take 20 kB


def test_where_the_cache_is(monkeypatch, tmp_path):
    from runwright.store import cache_root

    assert cache_root() == Path(os.environ["RUNWRIGHT_CACHE"])
    monkeypatch.delenv("RUNWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "runwright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "runwright"
