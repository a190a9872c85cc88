import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runwright.dataset.checks import require_columns
from runwright.dataset.readers.addresses import require_files
from runwright.errors import ConfigError, DataError


def columns(splits, split="train"):
    return splits[split].remove_columns("row_id").to_dict()


def test_a_csv_file_gives_its_rows_in_order_with_their_positions(read, write):
    splits = read("csv", write("a.csv", "text,label\ngood,1\nbad,0\n"))
    assert splits["train"].to_dict() == {"text": ["good", "bad"], "label": [1, 0], "row_id": [0, 1]}


def test_quoted_fields_may_hold_delimiters_quotes_and_line_ends(read, write):
    splits = read("csv", write("a.csv", 'text,label\r\n"a, ""b""\r\nc",x\r\n'))
    assert columns(splits) == {"text": ['a, "b"\r\nc'], "label": ["x"]}


def test_without_quoting_a_quote_is_an_ordinary_character(read, write):
    path = write("a.tsv", 'text\tlabel\n"open and\t1\nshut"\t0\n')
    assert columns(read("csv", path, delimiter="tab", quote=None))["text"] == ['"open and', 'shut"']


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "x"], ["1", "x"]),
        (["007", "1"], ["007", "1"]),  # a leading zero would be lost
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),  # beyond 64 bits
        (["1", ""], [1, None]),
        (["NA", "null"], ["NA", "null"]),  # words, not missing values
        (["nan", "inf"], ["nan", "inf"]),
        (["3,14", "27"], ["3,14", "27"]),
    ],
)
def test_a_column_is_numeric_only_where_nothing_is_lost_by_it(read, write, values, expected):
    rows = "".join(f'"{value}";t\n' for value in values)
    assert columns(read("csv", write("a.csv", "v;t\n" + rows), delimiter="semicolon"))["v"] == expected


def test_a_columns_type_is_the_same_in_every_split(read, write):
    files = {"train": write("a.csv", "t,v\nx,1\n"), "test": write("b.csv", "t,v\nx,one\n")}
    assert [columns(read("csv", files), split)["v"] for split in files] == [["1"], ["one"]]


def test_column_types_decide_where_the_values_could_be_either(read, write):
    path = write("a.csv", "text,score\n12,3\n")
    splits = read("csv", path, column_types={"text": "string", "score": "float"})
    assert columns(splits) == {"text": ["12"], "score": [3.0]}


def test_files_without_a_header_take_the_names_given_or_numbers(read, write):
    path = write("a.csv", "one,two\nthree,four\n")
    assert list(columns(read("csv", path, header=False))) == ["column_1", "column_2"]
    named = read("csv", path, header=False, column_names=["a", "b"])
    assert columns(named) == {"a": ["one", "three"], "b": ["two", "four"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "gb18030", "shift_jis"])
def test_files_are_read_in_their_own_encoding(read, write, encoding):
    word = {"cp1252": "naïve – “quoted”", "utf-8": "naïve 文 🙂"}.get(encoding, "文字")
    path = write("a.csv", f"text,label\n{word},1\n".encode(encoding))
    assert columns(read("csv", path, encoding=encoding))["text"] == [word]


def test_a_byte_order_mark_is_not_part_of_the_first_name(read, write):
    assert "text" in columns(read("csv", write("a.csv", b"\xef\xbb\xbftext,label\na,b\n")))


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_pythons_csv_writer_writes_is_read_back(read, tmp_path, rows):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = tmp_path / "random.csv"
    path.write_bytes(text.getvalue().encode())
    splits = read("csv", str(path), column_types={"a": "string", "b": "string"})
    assert columns(splits) == {"a": [a for a, _ in rows], "b": [b for _, b in rows]}


def test_several_files_patterns_and_folders_make_one_split_in_a_fixed_order(read, write, tmp_path):
    for name in ("b", "a", "c"):
        write(f"parts/{name}.csv", f"text\n{name}\n")
    parts = tmp_path / "parts"
    for given_files in (str(parts / "*.csv"), str(parts), [str(parts / f"{n}.csv") for n in "abc"]):
        assert columns(read("csv", given_files))["text"] == ["a", "b", "c"]


@pytest.mark.parametrize("here", [(0, 2), (1, 3)])  # numbered from 0 and from 1
def test_a_split_whose_files_are_not_all_here_is_refused_unless_they_are_listed(read, write, tmp_path, here):
    names = [f"train-{number:05}-of-00003.csv.gz" for number in here]
    files = [write(f"parts/{name}", gzip.compress(b"text\nx\n")) for name in names]
    node = {"_target_": "", "files": {"train": files[0], "test": None}}
    missing = f"train-{here[0] + 1:05}-of-00003.csv.gz"
    for given_files in (str(tmp_path / "parts"), str(tmp_path / "parts/*.gz")):
        with pytest.raises(DataError, match=f": 1 of 3 files are missing: {missing}; .* list them"):
            read("csv", given_files)
    for look in (lambda: read("csv", files[0]), lambda: require_files(node)):
        with pytest.raises(DataError, match=f"2 of 3 files are missing: .*{missing}"):
            look()
    assert len(read("csv", files)["train"]) == 2
    write(f"parts/{missing}", gzip.compress(b"text\nx\n"))
    assert len(read("csv", str(tmp_path / "parts"))["train"]) == 3


def test_relative_paths_start_at_the_folder_or_else_where_the_user_is(read, write, tmp_path, monkeypatch):
    write("sub/a.csv", "text\nx\n")
    assert len(read("csv", "a.csv", folder=str(tmp_path / "sub"))["train"]) == 1
    monkeypatch.chdir(tmp_path)
    assert len(read("csv", "sub/a.csv")["train"]) == 1
    with pytest.raises(DataError, match=r"source\.folder=null, as sub/a\.csv is in the working directory"):
        read("csv", "sub/a.csv", folder="sub")


def test_a_changed_file_is_read_again(read, write):
    path = write("a.csv", "text\nold\n")
    assert columns(read("csv", path))["text"] == ["old"]
    write("a.csv", "text\nnew\n")
    assert columns(read("csv", path))["text"] == ["new"]


def test_rows_beyond_one_batch_keep_their_order(read, write):
    path = write("a.csv", "n\n" + "".join(f"{n}\n" for n in range(25_000)))
    assert columns(read("csv", path))["n"] == list(range(25_000))


def test_json_lines_and_a_json_list_give_the_same_rows(read, write):
    rows = [{"text": "a", "label": 1, "tags": ["x"]}, {"text": "b", "label": None, "tags": []}, {"text": "c"}]
    lines = read("json", write("a.jsonl", "\n".join(json.dumps(row) for row in rows)))
    listed = read("json", write("a.json", json.dumps(rows, indent=2)))
    nested = read("json", write("b.json", json.dumps({"version": 1, "data": rows})), field="data")
    expected = {"text": ["a", "b", "c"], "label": [1, None, None], "tags": [["x"], [], None]}
    assert columns(lines) == columns(listed) == columns(nested) == expected


def test_whole_and_broken_numbers_in_json_become_floats_also_across_batches(read, write):
    lines = ['{"v": 1}'] * 10_001 + ['{"v": 0.5}']
    assert columns(read("json", write("a.jsonl", "\n".join(lines))))["v"][-2:] == [1.0, 0.5]


def test_parquet_files_give_their_rows(read, tmp_path):
    table = pa.table(
        {"text": ["a", "b"], "label": pa.array(["x", "y"]).dictionary_encode(), "score": [1.5, None]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    splits = read("parquet", str(tmp_path / "a.parquet"))
    assert columns(splits) == {"text": ["a", "b"], "label": ["x", "y"], "score": [1.5, None]}


def test_class_names_that_datasets_left_in_a_parquet_file_are_kept(read, tmp_path):
    label, labels = ClassLabel(names=["z", "a"]), List(ClassLabel(names=["joy", "fear"]))
    features = Features({"text": Value("string"), "label": label, "labels": labels})
    rows = {"text": ["a", "b"], "label": [1, 0], "labels": [[1], []]}
    for name, of_file in (("a", features), ("b", features | {"label": ClassLabel(names=["a", "z"])})):
        pq.write_table(pa.table(rows, schema=Features(of_file).arrow_schema), tmp_path / f"{name}.parquet")
    kept = read("parquet", str(tmp_path / "a.parquet"))["train"].features
    assert (kept["label"], kept["labels"]) == (label, labels)
    with pytest.raises(DataError, match=r"b.parquet.*names of their classes, differ from .* in a.parquet"):
        read("parquet", str(tmp_path / "*.parquet"))


def test_text_files_give_a_row_for_each_line_and_classes_by_name(read, write, tmp_path):
    write("train/pos.txt", "good\r\n\nfine")
    write("train/neg.txt", "bad\n")
    splits = read("text", str(tmp_path / "train"), label_from="file")
    assert columns(splits) == {"text": ["bad", "good", "", "fine"], "label": ["neg", "pos", "pos", "pos"]}


def test_a_folder_per_class_with_a_file_per_text(read, write, tmp_path):
    write("train/neg/1.txt", "bad\nfilm")
    write("train/pos/1.txt", "good")
    splits = read("text", str(tmp_path / "train" / "*" / "*.txt"), unit="file", label_from="folder")
    assert columns(splits) == {"text": ["bad\nfilm", "good"], "label": ["neg", "pos"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delimiter": "tabs"}, "delimiter"),
        ({"quote": "''"}, "quote"),
        ({"encoding": "utf-9"}, "encoding"),
        ({"column_types": {"txet": "int"}}, "txet"),
    ],
)
def test_wrong_options_are_config_errors(read, write, options, said):
    with pytest.raises(ConfigError, match=said):
        read("csv", write("a.csv", "text\nx\n"), **options)


def test_nothing_to_read_is_a_config_error(read):
    with pytest.raises(ConfigError, match=r"files\.train"):
        read("csv", {"train": None, "test": None})


@pytest.mark.parametrize(
    ("dataset", "options", "sizes"),
    [
        ("goemotions/*.tsv", {"delimiter": "tab", "quote": None}, 43410 + 5426 + 5427),
        ("intents/banking77_*.tsv", {"delimiter": "tab"}, 9003 + 1000 + 3080),
        ("stsb/stsb-en-*.csv", {"header": False, "column_names": ["a", "b", "score"]}, 5749 + 1500 + 1379),
        ("sms_spam/SMSSpamCollection", {"delimiter": "tab", "quote": None}, 5574),
    ],
)
def test_real_files_have_the_published_number_of_rows(read, data_folder: Path, dataset, options, sizes):
    assert len(read("csv", str(data_folder / dataset), **options)["train"]) == sizes


def test_rows_are_read_again_when_a_reader_has_changed(read, write, cache, monkeypatch):
    path = write("a.csv", "text\na\n")
    for digest, num_entries in (("old", 1), ("old", 1), ("new", 2)):
        monkeypatch.setattr("runwright.dataset.readers.raw.readers_code", lambda digest=digest: digest)
        assert read("csv", path)["train"]["text"][:] == ["a"]
        assert len(list((cache / "rows").glob("*/manifest.json"))) == num_entries


def test_a_point_is_no_number_and_neither_are_digits_of_other_scripts(read, write):
    for odd in (".", "-.", "1\u0663"):
        splits = read("csv", write("a.csv", f"text,v\na,1.5\nb,{odd}\nc,2\n"))
        assert columns(splits)["v"] == ["1.5", odd, "2"]
    assert columns(read("csv", write("b.csv", "v,t\n.5,a\n-5.,b\n")))["v"] == [0.5, -5.0]


@pytest.mark.parametrize("row", ['{"a": ["x", "\\ud800"]}', '{"\\ud800": 1}', '{"a": {"b": "\\ud800"}}'])
def test_half_a_character_is_named_wherever_it_stands(read, write, row):
    with pytest.raises(DataError, match="half of a surrogate pair"):
        require_columns(read("json", write("a.jsonl", row + "\n")), {"a": "any"})


def test_links_to_folders_are_followed_once(read, write, tmp_path):
    write("elsewhere/a.txt", "good\n")
    write("classes/neg/a.txt", "bad\n")
    (tmp_path / "classes" / "pos").symlink_to(tmp_path / "elsewhere")
    for name in ("neg/loop", "neg/another", "third"):  # 3 to the power of 40 ways lead on from here
        (tmp_path / "classes" / name).symlink_to(tmp_path / "classes")
    for pattern in ("classes", "classes/**", "classes/**/*.txt", "**/classes/**/a.txt"):
        splits = read("text", str(tmp_path / pattern), label_from="folder")
        assert columns(splits) == {"text": ["bad", "good"], "label": ["neg", "pos"]}


def test_a_link_in_another_folder_has_another_label(read, write, tmp_path, monkeypatch):
    file = write("a.txt", "good\n")
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
    link = tmp_path / "pos" / "a.txt"
    link.symlink_to(file)
    assert columns(read("text", str(link), label_from="folder"))["label"] == ["pos"]
    link.rename(tmp_path / "neg" / "a.txt")
    assert columns(read("text", str(tmp_path / "neg" / "a.txt"), label_from="folder"))["label"] == ["neg"]
    monkeypatch.chdir(tmp_path / "neg")
    assert columns(read("text", "a.txt", label_from="folder"))["label"] == ["neg"]


def test_a_file_that_is_named_twice_is_refused(read, write, tmp_path):
    write("a.csv", "text\nx\n")
    with pytest.raises(ConfigError, match=r"a\.csv' is named twice"):
        read("csv", {"train": [str(tmp_path / "a.csv"), str(tmp_path / "*.csv")]})


@pytest.mark.parametrize(
    ("content", "texts", "labels"),
    [
        ("0 how far is the sea ?\n\n1 oh  well\n", ["how far is the sea ?", "oh  well"], ["0", "1"]),
        ("DESC:manner How did x ?\nLOC:city Where", ["How did x ?", "Where"], ["DESC:manner", "LOC:city"]),
        ("__label__a __label__b so it is\n__label__c no\n", ["so it is", "no"], ["a,b", "c"]),
        ("so it is __label__a\nno __label__b\n", ["so it is", "no"], ["a", "b"]),
        ("pos\tso it is\n", ["so it is"], ["pos"]),
    ],
)
def test_labels_stand_on_the_line_of_their_text(read, write, content, texts, labels):
    splits = read("text", write("a.txt", content), label_from="line")
    assert columns(splits) == {"text": texts, "label": labels}


def test_a_line_without_the_label_that_others_have_is_named(read, write):
    with pytest.raises(DataError, match=r"line 2, .*__label__"):
        read("text", write("a.txt", "__label__a x\nno label\n"), label_from="line")


def test_a_file_beside_the_folders_of_classes_makes_no_class(read, write, tmp_path):
    for name in ("train/pos/1.txt", "train/neg/1.txt", "train/urls_pos.txt"):
        write(name, "x\n")
    with pytest.raises(DataError, match="its name would be a class"):
        read("text", str(tmp_path / "train"), label_from="folder")
    splits = read("text", str(tmp_path / "train/*/*.txt"), label_from="folder")
    assert columns(splits)["label"] == ["neg", "pos"]


def test_paths_may_hold_variables_and_blanks(read, write, tmp_path, monkeypatch):
    write("my data/a b.csv", "text\nx\n")
    write("my data/$DATA.csv", "text\ny\n")
    monkeypatch.setenv("DATA", str(tmp_path / "my data"))
    assert columns(read("csv", "$DATA/a b.csv"))["text"] == ["x"]
    assert columns(read("csv", "a b.csv", folder="${DATA}"))["text"] == ["x"]
    assert columns(read("csv", str(tmp_path / "my data/$DATA.csv")))["text"] == ["y"]
    with pytest.raises(DataError, match=r"no such file.*\$NOWHERE"):
        read("csv", "$NOWHERE/a b.csv")


def test_a_parquet_column_of_a_type_that_cannot_be_stored_is_left_out(read, write, load, tmp_path):
    pairs = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    kinds = pa.array(["x"]).dictionary_encode()
    pq.write_table(pa.table({"m": pairs, "text": ["t"], "label": kinds}), tmp_path / "a.parquet")
    data = load(read("parquet", str(tmp_path / "a.parquet")))
    assert data.splits["train"].to_dict() == {"text": ["t"], "label": ["x"], "row_id": [0]}
    assert "left out" in data.notes[0]
    assert "column 'm': [('a', 1)] is not null, as values of this type cannot be kept" in data.notes[0]
