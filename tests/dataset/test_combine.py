"""Several data sets as one: which rows come, and what is said about it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runwright.config.compose import all_mistakes, compose
from runwright.config.targets import instantiate
from runwright.dataset.checks import require_columns
from runwright.dataset.load import concat
from runwright.dataset.readers.raw import files_of, locate, notes_of
from runwright.errors import ConfigError, DataError


@pytest.fixture
def numbered(write, read, load):
    """`numbered(name, n)`: a part of n rows with texts `name 0`, `name 1`, …; other splits by name."""

    def make(name, train, others=None, **options):
        sizes = {"train": train} | (others or {})
        files = {
            split: write(f"{name}-{split}.csv", "text\n" + "".join(f"{name} {i}\n" for i in range(n)))
            for split, n in sizes.items()
        }
        return load(read("csv", files), **options)

    return make


@pytest.fixture
def part(write, read, load):
    """`part(name, content)`: a part of a csv file."""
    return lambda name, content: load(read("csv", write(name, content)))


def joined(**parts):
    return concat(parts=parts)


def test_parts_come_one_after_the_other_with_new_ids(numbered):
    rows = joined(a=numbered("a", 2, {"test": 1}), b=numbered("b", 3))
    assert rows["train"]["text"][:] == ["a 0", "a 1", "b 0", "b 1", "b 2"]
    assert rows["train"]["row_id"][:] == [0, 1, 2, 3, 4]
    assert rows["test"]["text"][:] == ["a 0"]


def test_a_row_can_be_traced_to_the_file_of_its_part(numbered):
    rows = joined(a=numbered("a", 2), b=numbered("b", 3))["train"]
    where = locate(rows, 3)
    assert where.file is not None
    assert (Path(where.file.removeprefix("b: ")).name, where.row, where.line) == ("b-train.csv", 1, 3)
    assert len(files_of(rows)) == 2


def numbers_of_lines(rows):
    """The number in the text of each row, and the one in the line that the row is said to be on."""
    for text, row_id in zip(rows["text"][:], rows["row_id"][:], strict=True):
        file, row, line = locate(rows, row_id)
        lines = Path(file.rpartition(": ")[2]).read_text().splitlines()
        assert lines[line - 1] == lines[row + 1] == text
        yield text


def test_rows_are_traced_through_the_steps_of_their_parts(numbered):
    part = numbered("a", 10, holdout={"test": 3}, subset={"train": 4})
    for split, size in {"train": 4, "test": 3}.items():
        rows = joined(a=part)[split]
        assert len(set(numbers_of_lines(rows))) == size


def test_rows_are_traced_through_parts_of_parts(numbered, load):
    inner = joined(a=numbered("a", 9), b=numbered("b", 4))
    outer = joined(a=load(inner, subset={"train": 11}), b=numbered("c", 5))
    assert {text[0] for text in numbers_of_lines(outer["train"])} == {"a", "b", "c"}


def test_a_row_whose_ids_are_gone_is_not_traced_to_a_wrong_place(numbered, cache):
    rows = joined(a=numbered("a", 10, subset={"train": 4}))["train"]
    for kept in cache.rglob("*.npy"):
        kept.unlink()
    assert locate(rows, 3) == ("a, after its own steps", 3, None)


def test_types_that_fit_are_joined_and_others_are_named(part):
    whole, decimal = part("a.csv", "text,n\nx,1\n"), part("b.csv", "text,n\ny,0.5\n")
    assert joined(a=whole, b=decimal)["train"]["n"][:] == [1.0, 0.5]
    words = part("c.csv", "text,n\ny,many\n")
    with pytest.raises(
        DataError, match=r"parts a, b .* n has incompatible types: int64 vs large_string.*CastColumns"
    ):
        joined(a=whole, b=words)


def test_columns_that_not_every_part_has_are_left_out_and_told(part):
    parts = {"a": part("a.csv", "text,n\nx,1\n"), "b": part("b.csv", "text\ny\n")}
    rows = joined(**parts)
    assert rows["train"].column_names == ["text", "row_id"]
    assert notes_of(rows) == ["train: columns that not every part has were left out: n of a"]
    with pytest.raises(DataError, match="no column in common"):
        joined(a=parts["a"], c=part("c.csv", "body\nx\n"))


def test_what_is_no_data_set_is_no_part(part):
    with pytest.raises(ConfigError, match=r"parts\.b: expected a whole data set, as in"):
        joined(b=part("b.csv", "text\ny\n").splits)


FILE = """
defaults:
  - concat
  - csv@source.parts.shop
  - json@source.parts.forum
  - _self_
source:
  parts:
    shop:
      source: {{files: {{train: {shop}}}}}
      columns: {{text: review}}
      cleaning: [{{_target_: runwright.dataset.cleaning.texts.LowerCase, columns: [text]}}]
      holdout: {{validation: 2}}
    forum:
      source: {{files: {{train: {forum}}}}}
      holdout: {{validation: 1}}
"""


@pytest.fixture
def nested(write, tmp_path):
    """A data set file of two whole data sets, composed."""
    shop = write("shop.csv", "review\n" + "".join(f"SHOP {i}\n" for i in range(8)))
    forum = write("forum.jsonl", "".join(json.dumps({"text": f"Forum {i}"}) + "\n" for i in range(4)))
    write("conf/dataset/both.yaml", FILE.format(shop=shop, forum=forum))
    return lambda *overrides: compose(["dataset=both", *overrides], folder=tmp_path)


def test_whole_data_sets_are_parts_with_steps_and_held_out_rows_of_their_own(nested):
    composed = nested()
    assert not all_mistakes(composed)
    data = instantiate(composed.config["dataset"], 0, group="dataset", key="dataset")
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 9, "validation": 3}
    assert {text[:5] for text in data.splits["validation"]["text"][:]} == {"shop ", "Forum"}
    assert all(text.startswith(("shop", "Forum")) for text in data.splits["train"]["text"][:])
    assert "train, validation: part shop: held out of 8 rows of train: 2 for validation" in data.notes


def test_the_fingerprint_follows_every_part(nested, write):
    def fingerprints():
        data = instantiate(nested().config["dataset"], 0, group="dataset", key="dataset")
        return data.fingerprints["train"]

    before = fingerprints()
    assert fingerprints() == before
    write("forum.jsonl", "".join(json.dumps({"text": f"other {i}"}) + "\n" for i in range(4)))
    assert fingerprints() != before


def test_a_mistake_in_a_part_is_reported_by_its_key(nested):
    overrides = [
        "dataset.source.parts.shop.source.header=5",
        "++dataset.source.parts.forum.holdout.test=2.5",
    ]
    keys = {mistake.key for mistake in all_mistakes(nested(overrides[0]))}
    assert keys == {"dataset.source.parts.shop.source.header"}
    keys = {mistake.key for mistake in all_mistakes(nested(overrides[1]))}
    assert keys == {"dataset.source.parts.forum.holdout.test"}


def test_a_column_that_a_part_lacks_is_reported_with_its_file(part):
    rows = joined(a=part("a.csv", "text\nx\n"))
    with pytest.raises(DataError, match=r"a: .*a\.csv.*column 'label'"):
        require_columns(dict(rows), {"label": "any"})


PROBE = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from conftest import DEFAULTS, load_with_defaults
from runwright.dataset.load import concat
function, options = DEFAULTS["csv"]
parts = {name: load_with_defaults(function(files={"train": sys.argv[1]}, **options)) for name in ("a", "b")}
rows = concat(parts=parts)["train"]
print(rows._fingerprint, len(rows))
"""


def test_a_combination_is_the_same_in_every_process(write, request, tmp_path):
    path, found = write("a.csv", "text\n" + "".join(f"t {i}\n" for i in range(60))), set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, path, str(request.path.parent)],
            env={"PYTHONHASHSEED": hash_seed, "RUNWRIGHT_CACHE": str(tmp_path / hash_seed), "PATH": ""},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1


def test_a_number_that_the_common_type_cannot_hold_is_named(part):
    parts = {"large": part("a.csv", f"n\n{2**53 + 1}\n"), "small": part("b.csv", "n\n0.5\n")}
    with pytest.raises(DataError, match=r"part 'large' holds what the type of other parts cannot hold"):
        joined(**parts)
