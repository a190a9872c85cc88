"""Delimited files as spreadsheets, databases, pandas and R write them."""

import pytest

from runwright.dataset.checks import require_columns
from runwright.dataset.cleaning.columns import CastColumns
from runwright.dataset.cleaning.texts import ReplacePattern
from runwright.dataset.readers.raw import locate
from runwright.errors import DataError

HEAD = "text,label\n"


def columns(data):
    return {name: values for name, values in data.splits["train"].to_dict().items() if name != "row_id"}


def test_an_escaped_quote_is_a_quote_and_other_backslashes_stay(read, write, load):
    rows = ['"she said \\"fine\\" and left",pos', '"ends\\\\",neg', "C:\\new,pos", "\\N,neg"]
    data = load(read("csv", write("a.csv", HEAD + "\n".join(rows)), escape="backslash"))
    assert columns(data)["text"] == ['she said "fine" and left', "ends\\", "C:\\new", ""]


def test_an_escaped_delimiter_is_a_part_of_the_field(read, write, load):
    path = write("a.tsv", "text\tlabel\na\\\tb\tpos\n")
    assert columns(load(read("csv", path, delimiter="tab", quote=None, escape="backslash")))["text"] == [
        "a\tb"
    ]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (",text,label\n0,a,b\n", ["column_1", "text", "label"]),  # DataFrame.to_csv with its index
        (",Unnamed: 0,text,label\n0,0,a,b\n", ["column_1", "Unnamed: 0", "text", "label"]),
        ("text,label,\na,b,\n", ["text", "label", "column_3"]),  # a spreadsheet with an empty column
    ],
)
def test_a_column_without_a_name_gets_its_number_and_is_noted(read, write, load, content, names):
    data = load(read("csv", write("a.csv", content)))
    assert list(columns(data)) == names
    unnamed = next(name for name in names if name.startswith("column_"))
    assert data.notes == [f"train: columns without a name in the header are called {unnamed}"]


def test_a_delimiter_at_the_end_of_rows_alone_adds_no_column(read, write, load):
    assert columns(load(read("csv", write("a.csv", "text,label\na,b,\nc,d,,\n")))) == {
        "text": ["a", "c"],
        "label": ["b", "d"],
    }


def test_numbers_with_a_decimal_comma_are_noted_and_made_by_cleaning(read, write, load):
    source = read("csv", write("a.csv", "text;score\na;3,5\nb;4\n"), delimiter="semicolon")
    (note,) = load(source).notes
    assert note == "train: 'score' is text (3,5), not numbers: see ReplacePattern and CastColumns"
    steps = [
        ReplacePattern(columns=["score"], pattern=",", replacement="."),
        CastColumns(columns={"score": "float"}),
    ]
    assert columns(load(source, cleaning=steps))["score"] == [3.5, 4.0]


@pytest.mark.parametrize(("quote", "row"), [('"', "'it''s',pos"), (None, '"she said ""no""",pos')])
def test_quotes_that_stay_in_every_value_are_noted(read, write, load, quote, row):
    (note,) = load(read("csv", write("a.csv", HEAD + row + "\n"), quote=quote)).notes
    assert "'text' keep their quotes" in note
    assert "dataset.source.quote" in note


@pytest.mark.parametrize(("mark", "delimiter"), [(";", "semicolon"), ("\t", "tab"), (",", "comma")])
def test_the_line_that_excel_puts_above_the_header_is_passed_over(read, write, load, mark, delimiter):
    content = f"\ufeffsep={mark}\r\ntext{mark}label\r\nfine{mark}1\r\n"
    data = load(read("csv", write("a.csv", content), delimiter=delimiter))
    assert columns(data) == {"text": ["fine"], "label": [1]}
    assert locate(read("csv", write("a.csv", content), delimiter=delimiter)["train"], 0).line == 3


@pytest.mark.parametrize("line", ["My export of 2024\n\n", "# made by a tool\n"])
def test_lines_above_the_header_are_told_to_be_deleted(read, write, line):
    with pytest.raises(DataError, match="the first line names the columns: delete what stands above it"):
        read("csv", write("a.csv", f"{line}text,label\nfine,1\n"))


def test_a_header_in_the_middle_is_no_row(read, write, load):
    joined = write("a.csv", HEAD + "a,1\n" + HEAD + "b,0\n")
    with pytest.raises(DataError, match=r"line 3.*repeats the header.*dataset\.source\.files\.train="):
        load(read("csv", joined))
    assert columns(load(read("csv", write("b.csv", "text\na\ntext\n"))))["text"] == ["a", "text"]


@pytest.mark.parametrize("header", ["\ufefftext,label\n", "text, label\n"])
def test_a_header_in_the_middle_may_have_a_mark_or_spaces(read, write, header):
    with pytest.raises(DataError, match=r"line 3.*repeats the header"):
        read("csv", write("a.csv", HEAD + "a,1\n" + header + "b,0\n"))


@pytest.mark.parametrize(
    "content",
    [
        'text\tlabel\n"It is good.\tpos\nI like it."\tneg\nx\tpos\n',
        'label\ttext\npos\t"So.\nneg\tNo."\nneg\tx\n',
    ],
)
def test_a_quote_that_makes_one_text_of_two_rows_is_noted(read, write, load, content):
    (note,) = load(read("csv", write("a.csv", content), delimiter="tab")).notes
    assert note.startswith("train: a quote seems to make one text of two rows (")
    assert note.endswith("see dataset.source.quote")
    assert load(read("csv", write("a.csv", content), delimiter="tab", quote=None)).notes == []
    assert load(read("csv", write("b.csv", HEAD + '"one,\ntwo, three\n",pos\nfour,neg\n'))).notes == []


def test_quotes_behind_a_space_are_noted(read, write, load):
    (note,) = load(read("csv", write("a.csv", HEAD + 'a, "pos"\nb, "neg"\n'))).notes
    assert note == "train: values of 'label' keep their quotes (' \"pos\"'): see dataset.source.quote"


def test_single_quotes_have_a_name(read, write, load):
    data = load(read("csv", write("a.csv", HEAD + "'it''s, b',pos\n"), quote="single"))
    assert columns(data)["text"] == ["it's, b"]


@pytest.mark.parametrize(
    ("content", "option"),
    [
        (HEAD + '"a \\"b\\" c",x\n', "escape (backslash"),
        ("text;label\na, b;x\n", "delimiter=semicolon"),
        ("text;label\na;x\n", "delimiter=semicolon"),
        ("text\tlabel\na, b\tx\n", "delimiter=tab"),
        ("text|label\na|x\n", "delimiter=pipe"),
        ("'text','label'\n'a, b','x'\n", "quote=single"),
        ('"text","label"\n"1","a","x"\n', "column_names=[row,text,label]"),  # write.table of R
        ("I like this very much,x\nno,y\n", "header=false"),
    ],
)
def test_the_option_for_another_dialect_is_named(read, write, load, content, option):
    with pytest.raises(DataError) as caught:
        require_columns(load(read("csv", write("a.csv", content))).splits, {"text": "text"})
    assert f"dataset.source.{option}" in str(caught.value)


@pytest.mark.parametrize("text", ["b", "b, c"])
def test_json_that_is_read_as_csv_is_told(read, write, load, text):
    content = '{"text": "a", "label": "x"}\n' + f'{{"text": "{text}", "label": "y"}}\n'
    with pytest.raises(DataError, match="looks like JSON: set dataset=json"):
        require_columns(load(read("csv", write("a.csv", content))).splits, {"text": "text"})
