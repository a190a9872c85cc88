import importlib
import json
import shutil
import subprocess
import sys

import pytest

from runwright import store
from runwright.dataset.cleaning.columns import AddColumn
from runwright.dataset.cleaning.texts import KeepValues, UnescapeHtml
from runwright.errors import ConfigError, DataError

LINES = "text,label\n" + "".join(f"text {n},{n % 3}\n" for n in range(300))


def test_columns_are_renamed_and_the_others_kept(read, write, load):
    data = load(read("csv", write("a.csv", "review,stars,id\ngood,5,x\n")), columns={"text": "review"})
    assert data.splits["train"].to_dict() == {"text": ["good"], "stars": [5], "id": ["x"], "row_id": [0]}


def test_two_columns_may_change_names_with_each_other(read, write, load):
    data = load(read("csv", write("a.csv", "a,b\n1,2\n")), columns={"a": "b", "b": "a"})
    assert data.splits["train"].to_dict() == {"b": [1], "a": [2], "row_id": [0]}


def test_a_new_name_that_is_taken_or_an_old_one_that_is_not_there_is_refused(read, write, load):
    source = read("csv", write("a.csv", "a,b\n1,2\n"))
    with pytest.raises(ConfigError, match=r"dataset\.columns\.a: the source has a column of this name"):
        load(source, columns={"a": "b"})
    with pytest.raises(DataError, match="column 'c': no such column; columns: 'a', 'b'"):
        load(source, columns={"text": "c"})


def test_splits_come_in_the_usual_order_and_rows_can_be_traced_back(read, write, load):
    files = {"test": write("b.csv", LINES), "train": write("a.csv", LINES)}
    data = load(read("csv", files), holdout={"validation": 0.2, "test": 0.5}, stratify_by="label")
    assert {split: len(rows) for split, rows in data.splits.items()} == {
        "train": 240,
        "validation": 60,
        "test": 300,
    }
    assert list(data.splits) == ["train", "validation", "test"]
    for row in data.splits["validation"]:
        assert row["text"] == f"text {row['row_id']}"
    assert data.notes == ["held out of 300 rows of train: 60 for validation"]


STEP = """
class Changed:
    def __call__(self, splits):
        return {name: rows.map(self.change) for name, rows in splits.items()}

    def change(self, row):
        return {"text": row["text"].METHOD()}
"""


def test_a_changed_cleaning_step_of_the_users_own_is_not_taken_from_a_cache(
    read, write, load, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    texts, source = [], read("csv", write("a.csv", LINES))
    for method in ("upper", "capitalize"):
        (tmp_path / "own_step.py").write_text(STEP.replace("METHOD", method), encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop("own_step", None)
        step = importlib.import_module("own_step").Changed()
        data = load(source, cleaning=[step])
        texts.append(data.splits["train"][0]["text"])
    assert texts == ["TEXT 0", "Text 0"]


def test_a_stratified_split_holds_every_class_in_proportion(read, write, load):
    data = load(read("csv", write("a.csv", LINES)), holdout={"test": 30}, stratify_by="label")
    assert sorted(data.splits["test"]["label"][:]) == [0] * 10 + [1] * 10 + [2] * 10


def test_the_same_seed_gives_the_same_rows_and_another_others(read, write, load):
    path = write("a.csv", LINES)
    prints = [load(read("csv", path), seed, holdout={"test": 0.1}).fingerprints for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_a_subset_is_drawn_by_the_seed_and_kept_in_order(read, write, load):
    source = read("csv", write("a.csv", LINES))
    subset = {"train": 20, "validation": None, "test": None}
    chosen = [load(source, seed, subset=subset).splits["train"]["row_id"][:] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] == sorted(set(chosen[0]))
    assert len(chosen[0]) == 20
    larger = load(source, 0, subset={"train": 40}).splits["train"]["row_id"][:]
    assert set(chosen[0]) < set(larger)  # a larger subset only adds rows


def test_a_subset_of_a_usual_split_that_the_data_lacks_limits_nothing(read, write, load):
    data = load(read("csv", write("a.csv", LINES)), subset={"train": 20, "validation": 5, "test": 5})
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 20}


def test_wrong_subsets_and_holdouts_are_refused(read, write, load):
    source = read("csv", write("a.csv", LINES))
    with pytest.raises(ConfigError, match=r"subset names 'tset'; splits: train"):
        load(source, subset={"tset": 5})
    with pytest.raises(DataError, match=r"no such column.*'label'"):
        load(source, holdout={"test": 0.1}, stratify_by="lable")
    only_test = read("csv", {"test": write("b.csv", LINES)})
    with pytest.raises(
        DataError, match=r"no train split to hold out from.*set dataset\.holdout\.validation=0$"
    ):
        load(only_test, holdout={"validation": 0.1, "test": 0.1})


def test_sources_say_what_there_is(read, write, load):
    path = write("a.csv", LINES)
    data = load(read("csv", path))
    assert data.sources == {"train": [path]}
    assert data.splits["train"].column_names == ["text", "label", "row_id"]


def test_loading_twice_from_the_same_rows_gives_and_stores_the_same(read, write, load, cache):
    source = read("csv", write("a.csv", LINES))
    first = load(source, holdout={"test": 0.1}, columns={"t": "text"})
    stored = sorted(cache.rglob("*.arrow"))
    second = load(source, holdout={"test": 0.1}, columns={"t": "text"})
    assert second.fingerprints == first.fingerprints
    assert sorted(cache.rglob("*.arrow")) == stored


def test_rows_that_a_users_own_step_has_shuffled_stay_in_that_order(read, write, load):
    def reverse(splits):
        return {split: rows.select(range(len(rows) - 1, -1, -1)) for split, rows in splits.items()}

    rows = load(read("csv", write("a.csv", LINES)), cleaning=[reverse]).splits["train"]
    assert rows["row_id"][:] == list(range(299, -1, -1))


RUN = """
import json, sys
sys.path.insert(0, sys.argv[2])
from conftest import DEFAULTS
from runwright.dataset.load import load_splits
from runwright.dataset.cleaning.texts import LowerCase

function, options = DEFAULTS["csv"]
data = load_splits(
    3, source=function(files={"train": sys.argv[1]}, **options), columns={},
    cleaning=[LowerCase(columns=["text"])], holdout={"test": 0.2}, stratify_by="label",
    subset={"train": 50}, streaming=False, shuffle_buffer=1, num_processes=1,
)
print(json.dumps([data.fingerprints, {split: rows._fingerprint for split, rows in data.splits.items()}]))
"""


def test_fingerprints_are_the_same_in_every_process_with_and_without_a_cache(write, tmp_path, request, cache):
    path, outcomes = write("a.csv", LINES), []
    for hash_seed, folder in (("1", "one"), ("2", "one"), ("3", "two")):
        done = subprocess.run(
            [sys.executable, "-c", RUN, path, str(request.path.parent)],
            env={"PYTHONHASHSEED": hash_seed, "RUNWRIGHT_CACHE": str(tmp_path / folder), "PATH": ""},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        outcomes.append(json.loads(done.stdout))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_steps_give_the_same_rows_on_several_processes(read, write, load):
    lines = "\n".join(f"{'A' * (n % 5)} &amp; {n},{n % 3}" for n in range(2100))
    splits = read("csv", write("a.csv", f"text,label\n{lines}\n"))
    steps = [
        UnescapeHtml(columns=["text"]),
        KeepValues(column="label", values=[0, 1]),
        AddColumn(name="words", columns=["text"], value="words"),
    ]
    two = load(splits, cleaning=steps, num_processes=2)
    shutil.rmtree(store.cache_root())
    one = load(read("csv", write("a.csv", f"text,label\n{lines}\n")), cleaning=steps)
    assert one.fingerprints == two.fingerprints
    assert one.notes == two.notes
    assert len(one.splits["train"]) == 1400
