"""Compressed files and files at addresses are read as local ones are, with the same complaints."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runwright.dataset.readers.addresses import file_fingerprint, file_state
from runwright.dataset.readers.raw import locate
from runwright.dataset.readers.streams import StreamPosition
from runwright.errors import DataError

CSV = "text,label\n" + "".join(f'"text\n{n}",{n}\n' for n in range(3000))


def zipped(content: bytes, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("inside.csv",):
            archive.writestr(name, content)
    return packed.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system of `memory://`, emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a server on this machine gives its files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_gives_the_rows_of_the_plain_one(ending: str, read: Any, write: Any) -> None:
    plain = read("csv", write("plain.csv", CSV))["train"]
    path = write(f"packed.csv.{ending}", COMPRESS[ending](CSV.encode()))
    whole = read("csv", path)["train"]
    assert whole.to_dict() == plain.to_dict()
    assert locate(whole, 2000) == locate(plain, 2000)._replace(file=path)
    stream = read("csv", path, streaming=True)["train"]
    blocks = list(stream.blocks(StreamPosition(), repeat(1900)))
    assert [text for block in blocks for text in block.rows["text"]] == plain["text"][:]
    rest = next(stream.blocks(blocks[0].end, repeat(5000)))
    assert rest.rows["label"][:] == list(range(1900, 3000))


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_bad_row_of_a_compressed_file_is_named_by_its_line(ending: str, read: Any, write: Any) -> None:
    path = write(f"a.csv.{ending}", COMPRESS[ending](b'text,label\n"a\nb",1\nshort\n'))
    with pytest.raises(DataError, match="1 fields, expected 2") as caught:
        read("csv", path)
    assert (caught.value.file, caught.value.row, caught.value.line) == (path, 1, 4)


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_file_that_is_cut_short_is_named(ending: str, read: Any, write: Any) -> None:
    path = write(f"a.csv.{ending}", COMPRESS[ending](CSV.encode())[:-30])
    with pytest.raises(DataError, match=r"a\.csv\..*the file cannot be read"):
        read("csv", path)


def test_an_archive_of_several_files_says_how_one_is_named(read: Any, write: Any) -> None:
    path = write("a.zip", zipped(b"text\nx\n", "one.csv", "two.csv"))
    with pytest.raises(DataError, match=rf"holds 2 files; name one: zip://one\.csv::{path}"):
        read("csv", path)
    assert read("csv", f"zip://two.csv::{path}")["train"]["text"][:] == ["x"]


def test_zstandard_is_read_or_its_package_is_named(read: Any, write: Any) -> None:
    path = write("a.csv.zst", b"\x28\xb5\x2f\xfd\x04\x00\x31\x00\x00text\na\x9a\x1c")
    if "zstd" not in fsspec.available_compressions():
        with pytest.raises(DataError, match="pip install zstandard"):
            read("csv", path)


def test_labels_are_the_names_without_the_ending_of_the_compression(read: Any, write: Any) -> None:
    paths = [write(f"{name}.txt.gz", gzip.compress(name.encode())) for name in ("pos", "neg")]
    rows = read("text", {"train": paths}, label_from="file")["train"]
    assert rows["label"][:] == ["pos", "neg"]


def test_files_patterns_and_folders_at_an_address_are_read(memory: Any, read: Any) -> None:
    for name in "ba":
        memory.pipe(f"/data/{name}.jsonl", f'{{"text": "{name}"}}\n'.encode())
    for given in ("memory://data/*.jsonl", "memory://data"):
        rows = read("json", given)["train"]
        assert rows["text"][:] == ["a", "b"]
        assert locate(rows, 1).file == "memory:///data/b.jsonl"
    assert read("json", "b.jsonl", folder="memory://data")["train"]["text"][:] == ["b"]
    with pytest.raises(DataError, match="no such file"):
        read("json", "memory://data/c*.jsonl")


def test_a_file_at_an_address_is_read_again_only_when_it_has_changed(memory: Any, read: Any) -> None:
    memory.pipe("/a.csv", b"text\nold\n")
    states = [file_state("memory://a.csv") for _ in range(2)]
    assert read("csv", "memory://a.csv")["train"]["text"][:] == ["old"]
    memory.pipe("/a.csv", b"text\nnew\n")
    assert states[0] == states[1] != file_state("memory://a.csv")
    assert read("csv", "memory://a.csv")["train"]["text"][:] == ["new"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zip"])
def test_a_file_of_a_web_server_is_the_local_one(ending: str, served: Any, read: Any) -> None:
    folder, address = served
    content = CSV.encode()
    path = folder / f"a.{ending}"
    path.write_bytes(COMPRESS.get(ending[4:], bytes)(content))
    remote = f"{address}/a.{ending}"
    plain, rows = read("csv", str(path))["train"], read("csv", f"{remote}?download=1")["train"]
    assert rows.to_dict() == plain.to_dict()
    assert file_fingerprint(remote) == file_fingerprint(path)
    stream = read("csv", remote, streaming=True)["train"]
    first = next(stream.blocks(StreamPosition(), repeat(2500)))
    rest = next(stream.blocks(first.end, repeat(2500)))
    assert first.rows["text"][:] + rest.rows["text"][:] == plain["text"][:]


def test_parquet_of_a_web_server_is_read(served: Any, read: Any) -> None:
    folder, address = served
    pq.write_table(pa.table({"text": ["a", "b"]}), folder / "a.parquet")
    assert read("parquet", f"{address}/a.parquet")["train"]["text"][:] == ["a", "b"]


def test_what_an_address_does_not_give_is_named(served: Any, read: Any) -> None:
    address = served[1]
    with pytest.raises(DataError, match=rf"file '{address}/none\.csv'.*cannot be read"):
        read("csv", f"{address}/none.csv")
    with pytest.raises(DataError, match=r"s3fs"):
        read("csv", "s3://bucket/a.csv")
    with pytest.raises(DataError, match=r"Protocol not known: nowhere"):
        read("csv", "nowhere://a.csv")


def test_a_pipe_or_a_dead_link_is_no_missing_file(tmp_path: Path, read: Callable[..., Any]) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to("gone.csv")
    for name in ("pipe.csv", "link.csv"):
        with pytest.raises(DataError, match="neither a file nor a folder: a link"):
            read("csv", str(tmp_path / name))
