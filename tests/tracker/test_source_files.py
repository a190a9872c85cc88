from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runwright.tracker.provenance import code_folders, hash_code, hash_model


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_source_files_are_hashed_by_package_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_lab" / "inner").mkdir(parents=True)
    (tmp_path / "a_lab" / "__init__.py").write_text("")
    (tmp_path / "a_lab" / "inner" / "x.py").write_text("x = 1\n")
    (tmp_path / "a_lab" / "data.csv").write_text("1,2\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("a: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = hash_code(code_folders(["a_lab"], conf=tmp_path / "conf"))
    assert found["a_lab"] == {"__init__.py": digest(""), "inner/x.py": digest("x = 1\n")}
    assert found["conf"] == {"mine.yaml": digest("a: 1\n")}
    assert "trainer/step.py" in found["runwright"]


def test_the_files_of_a_model_are_hashed_and_hashed_again_when_they_change(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_text("weights")
    for text in ("weights", "other weights"):
        (model / "model.safetensors").write_text(text)
        found = hash_model(str(model), revision=None, cache=tmp_path / "cache")
        assert found["files"] == {"model.safetensors": digest(text)}
    assert hash_model("no/such-model", revision=None, cache=tmp_path / "cache")["files"] == {}
