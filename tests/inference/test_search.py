"""Search by meaning: an index of a real run over a file, queries, what no longer fits."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runwright.cli.main import main

WORDS = ["good", "bad", "fine", "dull", "film", "plot", "very", "long", "short", "song"]
TEXTS = [f"{a} {b}" for a in WORDS for b in WORDS if a != b]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of two steps, and a file of texts beside it."""
    folder = tmp_path_factory.mktemp("search")
    rows = [{"sentence1": a, "sentence2": b, "score": 1.0} for a, b in itertools.pairwise(TEXTS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = main(
            [
                "train", "task=sentence_embedding", "dataset=json", "dataset.source.files.train=rows.jsonl",
                "metric=[spearman]", "trainer.best_metric=loss", "model=scratch", "tokenizer=train/word",
                "model.config.hidden_size=16", "model.config.intermediate_size=16", "tracker=console",
                "trainer.max_epochs=null", "trainer.max_steps=2", "trainer.device=cpu", "name=tiny",
                "trainer.num_threads=1",
            ]
        )  # fmt: skip
        assert code == 0
        (found,) = (folder / "outputs" / "tiny").iterdir()
        patch.setattr("runwright.inference.load.CHUNK_RECORDS", 7)
        assert main(["search", "index", str(found), "texts.txt", "--output", "index"]) == 0
        yield found


@pytest.fixture
def index(run: Path) -> Path:
    return run.parents[2] / "index"


def found(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_hits_are_the_texts_with_the_largest_product(
    run: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from runwright.inference.load import load_run
    from runwright.inference.search import embed

    queries = ["good film", "song"]
    assert main(["search", "query", str(index), *queries, "--k", "5", "--json"]) == 0
    finished = load_run(run)
    similarity = embed(finished, queries) @ embed(finished, TEXTS).T
    for query, row, answer in zip(queries, similarity, found(capsys), strict=True):
        assert answer["query"] == query
        assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
        assert [TEXTS[hit["id"]] for hit in answer["hits"]] == [hit["text"] for hit in answer["hits"]]
        scores = [hit["score"] for hit in answer["hits"]]
        np.testing.assert_allclose(scores, np.sort(row)[::-1][:5], atol=2e-6)


def test_blank_lines_are_no_hits_and_count_as_lines(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaps.txt").write_text("good film\n" + " \n" * 8 + "bad plot\n\n")
    target, file = str(tmp_path / "my index"), str(tmp_path / "gaps.txt")
    assert main(["search", "index", str(run), file, "--output", target]) == 0
    assert f"2 texts; runwright search query '{target}'" in capsys.readouterr().out
    assert main(["search", "query", target, "bad plot", "--json"]) == 0
    (answer,) = found(capsys)
    assert [(hit["id"], hit["text"]) for hit in answer["hits"]] == [(9, "bad plot"), (0, "good film")]


def test_queries_are_read_line_by_line(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("good film\n\nbad plot\n"))
    assert main(["search", "query", str(index), "--k", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == ["good film", "bad plot"]
    assert lines[1].split()[1:] == ["good", "film"]


def test_an_index_of_another_run_is_refused(
    run: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "other")
    record = json.loads((run / "run.json").read_text())
    (tmp_path / "other" / "run.json").write_text(json.dumps(record | {"run_id": "f" * 32}))
    assert main(["search", "query", str(index), "good", "--run", str(tmp_path / "other")]) == 2
    assert f"the index was made with run {record['run_id']}" in capsys.readouterr().err


def test_the_run_of_an_index_is_found_where_the_project_was_moved(
    run: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(index, "index")
    about = json.loads(Path("index", "index.json").read_text())
    Path("index", "index.json").write_text(json.dumps(about | {"run_folder": str(tmp_path / "gone")}))
    assert main(["search", "query", "index", "good film", "--k", "1"]) == 2
    assert f"run {about['run_id']!r}: given no run" in capsys.readouterr().err
    shutil.copytree(run, Path("outputs", run.parent.name, run.name))
    assert main(["search", "query", "index", "good film", "--k", "1", "--json"]) == 0
    assert found(capsys)[0]["hits"][0]["text"] == "good film"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["query", "nowhere", "x"], "no index"),
        (["query"], "the folder of an index"),
        (["query", "index", "x", "--k", "0"], "--k: given 0"),
        (["index", "RUN", "texts.txt"], "--output"),
        (["index", "RUN", "texts.txt", "--output", "index"], "exists already"),
        (["index", "RUN", "text.txt", "--output", "other"], "did you mean 'texts.txt'?\n"),
        (["index", "RUN"], "expected RUN and FILE"),
    ],
)
def test_what_is_wrong_is_said(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(run.parents[2])
    assert main(["search", *(str(run) if word == "RUN" else word for word in words)]) in {2, 3}
    assert message in capsys.readouterr().err
    assert not Path("other").exists()


def test_csv_has_a_column_for_every_key_of_a_file(run: Path, tmp_path: Path) -> None:
    file, target = tmp_path / "rows.jsonl", tmp_path / "rows.csv"
    rows = [{"sentence1": "good film"}, {"sentence1": "bad plot", "place": {"page": 3}}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["predict", str(run), "--file", str(file), "--output", str(target)]) == 0
    with target.open(encoding="utf-8", newline="") as stream:
        assert [row["place_page"] for row in csv.DictReader(stream)] == ["", "3"]


def test_principal_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    from runwright.inference.search import principal_components

    vectors = np.random.default_rng(0).normal(size=(40, 6)) * np.arange(1, 7)
    points, shares = principal_components(vectors, count=2)
    reference = PCA(n_components=2).fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(reference.transform(vectors)), rtol=1e-9)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, rtol=1e-9)
    for seed in range(5):
        vectors = np.random.default_rng(seed).normal(size=(40, 6)) * np.arange(1, 7)
        points, _ = principal_components(vectors, count=2)
        axes = np.linalg.lstsq(vectors - vectors.mean(axis=0), points)[0]
        assert (axes[np.abs(axes).argmax(axis=0), [0, 1]] > 0).all()


def test_of_equal_texts_the_first_in_the_file_come_first(tmp_path: Path) -> None:
    from runwright.inference.search import ABOUT, TEXTS, VECTORS, Index

    vectors = np.tile([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], (40, 1)).astype(np.float32)
    np.save(tmp_path / VECTORS, vectors)
    pq.write_table(pa.table({"id": range(120), "text": ["a"] * 120}), tmp_path / TEXTS)
    (tmp_path / ABOUT).write_text("{}")
    hits = Index(tmp_path).query(np.array([1.0, 0.0], dtype=np.float32), k=60)
    assert [hit["id"] for hit in hits] == [*range(1, 120, 3), *range(0, 60, 3)]


def test_a_map_has_a_point_for_each_text_in_the_colour_of_its_column(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"sentence1": text, "kind": text.split()[0]} for text in TEXTS]
    file = tmp_path / "kinds.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder, page = tmp_path / "index", tmp_path / "map.html"
    assert main(["search", "index", str(run), str(file), "--output", str(folder)]) == 0
    assert main(["search", "plot", str(folder), "--colour", "kind", "--output", str(page)]) == 0
    content = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    (chart,) = json.loads(content[1] if content else "")["charts"]
    assert chart["texts"] == TEXTS
    assert len(chart["px"]) == len(chart["py"]) == len(TEXTS)
    assert chart["groups"] == [*WORDS[:7], "others"]  # nine texts of each: in the order of the file
    assert [chart["groups"][n] for n in chart["group"]] == [
        kind if (kind := text.split()[0]) in WORDS[:7] else "others" for text in TEXTS
    ]
    assert main(["search", "plot", str(folder), "--colour", "sort", "--output", str(page)]) == 3
    assert "column 'sort'" in capsys.readouterr().err
    assert main(["search", "plot", str(folder)]) == 2
