import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from runwright.dataset.readers.hub import read_hub
from runwright.errors import ConfigError, DataError

SPLITS = {"train": "train", "validation": None, "test": "test"}


@pytest.fixture
def folder(tmp_path):
    """A folder laid out like a repository of the hub: parquet files whose metadata names the classes."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    rows = DatasetDict(
        {
            "train": Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features),
            "test": Dataset.from_dict({"text": ["d"], "label": [-1]}, features=features),
        }
    )
    (tmp_path / "repo" / "data").mkdir(parents=True)
    for split, part in rows.items():
        part.to_parquet(tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet")
    return str(tmp_path / "repo")


def read(name, config=None, splits=SPLITS, revision=None):
    return read_hub(name=name, config=config, splits=splits, revision=revision)


def test_classes_become_names_and_unlabelled_rows_have_none(folder):
    splits = read(folder)
    assert splits["train"].to_dict() == {
        "text": ["a", "b", "c"],
        "label": ["pos", "neg", None],
        "row_id": [0, 1, 2],
    }
    assert splits["test"].column_names == ["text", "row_id"]


def test_a_split_may_have_another_name_or_be_a_slice(folder):
    splits = read(folder, splits={"train": "train[:2]", "validation": "test"})
    assert {split: rows["text"][:] for split, rows in splits.items()} == {
        "train": ["a", "b"],
        "validation": ["d"],
    }


def test_a_folder_that_lacks_files_of_a_split_is_refused(folder):
    data = Path(folder, "data")
    (data / "train-00000-of-00001.parquet").rename(data / "train-00001-of-00002.parquet")
    with pytest.raises(DataError, match="1 of 2 files are missing: train-00000-of-00002"):
        read(folder, splits={"train": "train[:2]"})
    assert len(read(folder, splits={"test": "test"})["test"]) == 1


def test_the_origin_is_recorded(folder, load):
    assert load(read(folder)).sources == {"train": [folder], "test": [folder]}


def test_a_folder_that_changes_is_read_again(folder, tmp_path):
    assert len(read(folder)["train"]) == 3
    rows = Dataset.from_dict({"text": ["x"], "label": [0]})
    for split in ("train", "test"):
        rows.to_parquet(tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet")
    assert read(folder)["train"]["text"][:] == ["x"]


def test_json_lines_with_configs_in_the_card(tmp_path):
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("one", "two"))
    card = f"---\nconfigs:\n{configs}---\n"
    (tmp_path / "README.md").write_text(card)
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    assert read(str(tmp_path), config="two", splits={"train": "train"})["train"]["text"][:] == ["two"]


def test_what_cannot_be_loaded_is_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"split 'test': split 'tset' cannot be loaded.*tset"):
        read(folder, splits={"test": "tset"})
    with pytest.raises(DataError, match="of 'other' cannot be loaded"):
        read(folder, config="other")
    with pytest.raises(ConfigError, match=r"folder '\./nowhere' does not exist"):
        read("./nowhere")
    with pytest.raises(ConfigError, match="no split is chosen"):
        read(folder, splits={"train": None})


def test_code_in_a_data_set_is_not_run(tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError):
        read(str(tmp_path / "evil"))
    assert not (tmp_path / "ran").exists()


def test_without_a_network_a_branch_cannot_be_resolved():
    with pytest.raises(DataError, match=r"file 'some/set'.*set dataset\.source\.revision to a full commit"):
        read("some/set")


@pytest.mark.network
def test_a_branch_is_resolved_to_its_commit(load):
    data = load(read("nyu-mll/glue", config="wnli", splits={"train": "train"}))
    assert len(data.splits["train"]) == 635
    name, _, commit = data.sources["train"][0].partition("@")
    assert (name, len(commit)) == ("nyu-mll/glue", 40)


def test_a_folder_of_save_to_disk_is_read(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "several"))
    rows.save_to_disk(str(tmp_path / "one"))
    for name, splits in (("several", SPLITS), ("one", {"train": "train"})):
        assert read(str(tmp_path / name), splits=splits)["train"]["label"][:] == ["pos", "neg"]
