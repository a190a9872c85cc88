from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from runwright.tracker.provenance import collect, tags


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.py").write_text("layers = 2\n")
    (folder / ".gitignore").write_text("outputs/\n")
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    return folder


def test_the_commit_and_the_changes_since_are_recorded(project: Path) -> None:
    commit = subprocess.check_output(["git", "-C", str(project), "rev-parse", "HEAD"], text=True).strip()
    clean = collect(project)
    assert clean["git"]["commit"] == commit
    assert clean["git"]["branch"] == "main"
    assert (clean["git"]["dirty"], clean["git"]["diff"]) == (False, "")

    (project / "model.py").write_text("layers = 3\n")
    (project / "new.py").write_text('api_key = "canary-1"\nx = 1\n')
    (project / "token.yaml").write_text("canary-2")
    (project / "outputs").mkdir()
    (project / "outputs" / "big.bin").write_bytes(b"0")
    dirty = collect(project)
    assert dirty["git"]["dirty"]
    assert "-layers = 2\n+layers = 3" in dirty["git"]["diff"]
    assert '+api_key = "[redacted]"\n+x = 1\n' in dirty["git"]["diff"]
    assert "canary" not in json.dumps(dirty)
    assert dirty["git"]["diff"].count("diff --git ") == 2


def test_outputs_are_no_source_even_where_git_does_not_ignore_them(project: Path) -> None:
    (project / "runs").mkdir()
    (project / "runs" / "config.yaml").write_text("a: 1\n")
    assert "+++ b/runs/config.yaml\n@@ -0,0 +1 @@\n+a: 1\n" in collect(project)["git"]["diff"]
    assert collect(project, but=project / "runs")["git"]["diff"] == ""


def test_outside_a_repository_there_is_no_git(tmp_path: Path) -> None:
    found = collect(tmp_path)
    assert found["git"] is None
    assert "mlflow.source.git.commit" not in tags(found)


def test_packages_hardware_and_threads_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = collect(tmp_path)
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["hardware"]["memory_bytes"] > 2**28
    assert found["threads"]["OMP_NUM_THREADS"] == "3"
    assert json.loads(json.dumps(found)) == found
    assert all(isinstance(text, str) for text in tags(found).values())


def test_secrets_are_masked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary123")
    monkeypatch.setattr(sys, "argv", ["runwright", "train", "x.password=pw-canary", "y=hf_canary123"])
    (project / "model.py").write_text('login("hf_canary123")\n')
    text = json.dumps(collect(project))
    assert "canary" not in text
    assert "runwright train" in text
