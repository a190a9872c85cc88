import json
import os
import resource
import signal
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from runwright import store
from runwright.errors import ConfigError, DataError


def write(entry, content=b"x" * 100):
    def fill(folder):
        (folder / "data").write_bytes(content)
        return {"size": len(content)}

    with store.locked(entry):
        store.write_entry(entry, fill)


def test_an_entry_appears_whole_with_its_manifest(tmp_path):
    write(tmp_path / "a")
    assert store.read_json(tmp_path / "a" / store.MANIFEST) == {
        "size": 100,
        "files": {"data": zlib.crc32(b"x" * 100)},
    }
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["data", "manifest.json"]
    assert store.read_json(tmp_path / "b" / store.MANIFEST) == {}


def test_an_entry_whose_lock_is_held_is_not_removed(tmp_path):
    for name in "ab":
        write(tmp_path / name)
    with FileLock(tmp_path / ".a.lock"):
        assert store.evict(tmp_path, max_bytes=-1) == [tmp_path / "b"]
    assert store.evict(tmp_path, max_bytes=-1) == [tmp_path / "a"]


def test_what_a_killed_process_began_is_removed_after_a_day(tmp_path):
    for name, age in ((".old.partial", 90_000), (".new.partial", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    store.evict(tmp_path, max_bytes=10**9)
    assert [path.name for path in tmp_path.iterdir()] == [".new.partial"]


def test_a_full_disk_is_a_data_error_and_an_error_of_the_reader_stays_itself(tmp_path):
    def full(folder):
        raise OSError(28, "No space left on device")

    def unreadable(folder):
        raise PermissionError(13, "Permission denied", "source.csv")

    with pytest.raises(DataError, match=r"No space left on device.*RUNWRIGHT_CACHE"):
        store.write_entry(tmp_path / "a", full)
    with pytest.raises(PermissionError, match=r"source\.csv"):
        store.write_entry(tmp_path / "a", unreadable)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_files():
    """Files may not grow beyond 1,000 bytes: writes end as on a full disk."""
    limits, kept = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, kept)


def save_tokenizer(folder):
    vocabulary = {f"word {index}": index for index in range(1000)}
    Tokenizer(WordLevel(vocabulary, unk_token="word 0")).save(str(folder / "tokenizer.json"))


def refuse_behind_another_error(folder):
    try:
        (folder / "a.txt").write_text("a" * 2000)
    except OSError as error:
        raise ConfigError(f"the model cannot be exported ({error})") from error


WRITERS = {
    "wrapped": refuse_behind_another_error,
    "tokenizers": save_tokenizer,
    "safetensors": lambda folder: save_file({"a": torch.zeros(1000)}, folder / "a.safetensors"),
    "numpy": lambda folder: np.save(folder / "a.npy", np.zeros(1000)),
    "torch": lambda folder: torch.save(torch.zeros(1000), folder / "a.pt"),
    "python": lambda folder: (folder / "a.txt").write_text("a" * 2000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_the_disk_refuses_is_an_os_error_whatever_library_wrote(name, small_files, tmp_path):
    (tmp_path / "best").mkdir()
    with (
        pytest.raises(OSError, match=r"large|space") as caught,
        store.folder_whole(tmp_path / "best") as folder,
    ):
        WRITERS[name](folder)
    assert caught.value.errno in store.DISK_REFUSES
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_another_error_in_a_folder_stays_itself(tmp_path):
    whole = store.folder_whole(tmp_path / "best")
    with pytest.raises(Exception, match=r"os error 2") as caught, whole:
        Tokenizer.from_file(str(tmp_path / "missing.json"))
    assert type(caught.value) is Exception


def test_a_key_has_one_name_whatever_the_order_of_its_parts():
    assert store.digest({"a": 1, "b": [2, "\ud800"]}) == store.digest({"b": [2, "\ud800"], "a": 1})
    assert store.digest({"a": 1}) != store.digest({"a": "1"})


def test_the_hash_of_sources_follows_text_names_and_places(tmp_path):
    from runwright.store import sources_digest

    def digest():
        return sources_digest(tmp_path / "group", also="1.0")

    (tmp_path / "group").mkdir()
    file = tmp_path / "group" / "a.py"
    file.write_text("x = 1\n")
    (tmp_path / "group" / "notes.txt").write_text("not code")
    first = digest()
    (tmp_path / "group" / "notes.txt").write_text("still not code")
    assert digest() == first
    file.write_text("x = 2\n")
    second = digest()
    file.rename(tmp_path / "group" / "b.py")
    assert len({first, second, digest(), sources_digest(tmp_path / "group", also="2.0")}) == 4


def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(small_files, tmp_path):
    with pytest.raises(OSError, match=r"large.*a\.csv"), store.written_whole(tmp_path / "a.csv") as file:
        file.write_bytes(b"a" * 2000)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_were_writing_of_an_output_is_removed_by_the_next(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f".a.csv.{number}.tmp" for number in (gone.pid, os.getppid())] + [f".b.csv.{gone.pid}.tmp"]
    for name in names:
        (tmp_path / name).touch()
    store.output_path(tmp_path / "a.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names[1:])


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    file = tmp_path / "a.json"
    store.write_json(file, {"path": Path("x"), "ä": 1})
    assert json.loads(file.read_text("utf-8")) == {"path": "x", "ä": 1}
    with pytest.raises(UnicodeEncodeError):
        store.write_text(file, "half of a pair: \ud800")
    assert json.loads(file.read_text("utf-8"))["ä"] == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, fsync, file = [], os.fsync, tmp_path / "a.txt"

    def sync(descriptor):
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().read_text(), file.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    store.write_text(file, "all of it")
    assert synced == [("all of it", False)]


def test_entries_that_just_fit_stay(tmp_path):
    write(tmp_path / "a")
    size = sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    assert store.evict(tmp_path, max_bytes=size) == []
    write(tmp_path / "b")
    os.utime(tmp_path / "a" / store.MANIFEST, (0, 0))
    assert store.evict(tmp_path, max_bytes=2 * size - 1) == [tmp_path / "a"]
    assert store.evict(tmp_path, max_bytes=size - 1) == [tmp_path / "b"]


def test_flat_records_keep_lists_and_empty_mappings_as_leaves():
    assert store.flatten({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}) == {
        "a.b": 1,
        "a.c": {},
        "d": [1, {"e": 2}],
    }
