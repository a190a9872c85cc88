"""Bytes as text: encodings that do not fit, and files that are no text."""

import bz2
import io
import lzma
import pickle
import zipfile

import pytest

from runwright.errors import DataError


@pytest.mark.parametrize(
    ("text", "encoding", "byte"), [("Grüße aus Köln", "cp1252", "fc"), ("这家店很好吃", "gb18030", "d5")]
)
def test_a_wrong_byte_is_named_with_its_line(read, write, text, encoding, byte):
    path = write("a.csv", f"text,label\n{text},b\n".encode(encoding))
    with pytest.raises(DataError, match=f"line 2.*not utf-8 .byte 0x{byte}.; set dataset.source.encoding"):
        read("csv", path)
    assert read("csv", path, encoding=encoding)["train"]["text"][:] == [text]


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_with_and_without_a_mark(read, write, encoding):
    path = write("a.csv", "text,label\nä,b\n".encode(encoding))
    with pytest.raises(DataError, match=f"dataset.source.encoding={encoding}$"):
        read("csv", path)
    assert read("csv", path, encoding=encoding)["train"]["text"][:] == ["ä"]


def test_utf_8_read_in_another_encoding_is_noted(read, write, load):
    data = load(read("csv", write("a.csv", "text\nGrüße\n"), encoding="latin-1"))
    assert data.notes == ["train: the text is UTF-8, and read as latin-1: see dataset.source.encoding"]
    assert load(read("csv", write("b.csv", "text\nGruss\n"), encoding="latin-1")).notes == []


def test_quotes_of_cp1252_read_as_latin_1_are_noted(read, write, load):
    path = write("a.csv", "text\nit’s “fine”\n".encode("cp1252"))
    (note,) = load(read("csv", path, encoding="latin-1")).notes
    assert note.startswith("train: the text holds control characters such as '\\x92' as latin-1; cp1252 has")
    assert load(read("csv", path, encoding="cp1252")).notes == []


@pytest.mark.parametrize("reader", ["csv", "json", "text"])
def test_a_spreadsheet_is_refused_with_what_to_do(read, write, reader):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(DataError, match="save the sheet as CSV"):
        read(reader, write("reviews.xlsx", content.getvalue()))


@pytest.mark.parametrize("reader", ["csv", "json", "text"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "git lfs pull"),
        (b"%PDF-1.4\nsoup\n", "a PDF"),
        (b"{\\rtf1\\ansi soup,1\\par}\n", "plain text"),
        (bz2.compress(b"text\na\n"), "ends in .bz2"),
        (lzma.compress(b"text\na\n"), "ends in .xz"),
        (b"SQLite format 3\0soup\n", "export the table"),
    ],
)
def test_what_only_has_the_name_of_a_text_is_refused(read, write, reader, content, says):
    with pytest.raises(DataError, match=f"line 1.*the file is no text but .*{says}"):
        read(reader, write("rows.csv", content))


@pytest.mark.parametrize("reader", ["csv", "json", "text", "parquet"])
@pytest.mark.parametrize("name", ["rows.pkl", "rows.csv"])
def test_a_pickle_is_named_with_the_line_that_makes_parquet_of_it(read, write, reader, name):
    if reader == "parquet" and name == "rows.csv":
        pytest.skip("parquet's own message")
    path = write(name, pickle.dumps({"text": ["a"]}))
    with pytest.raises(DataError, match=r"a pickle, .*read_pickle\('.*'\)\.to_parquet\('.*rows\.parquet'\)"):
        read(reader, path)
