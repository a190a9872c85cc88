"""Publishing to a hub on the loopback: one commit, nothing that was not meant, and never half of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from runwright.cli.main import main
from runwright.errors import ConfigError, TrackingError
from runwright.runs.folder import resolve_run
from runwright.tracker import hub as publishing

# huggingface_hub 2.4, of its own call
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

CANARY = "hf_" + "canarycanarycanarycanary"
DATA = {
    "predictions/test.jsonl": '{"text": "a secret row"}',
    "samples.csv": "a secret row",
    "rows.json": '["a secret row"]',
    "train.parquet": "a secret row",
    "pytorch_model.bin": "a secret row",
    ".env": "a secret row",
    "tokenized_rows.json": "a secret row",
    "vocab.csv": "a secret row",
    "vectors.model": "a secret row",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as `best/` has it; what its weights are does not matter here."""
    model = tmp_path / "model"
    (model / "1_Pooling").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"\0" * 10 + bytes(range(256)) * 400)
    (model / "config.json").write_text('{"label2id": {"password": 12345678, "token": 1}}')
    (model / "tokenizer.json").write_text('{"model": {"vocab": {"secret": 123456, "password": 28173}}}')
    (model / "1_Pooling" / "config.json").write_text("{}")
    (model / "README.md").write_text("---\nlicense: mit\n---\n\n# A card\n")
    return model


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_push_is_one_private_commit_and_a_second_one_sends_nothing(
    hub: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(folder), "--to", "me/model", "--yes"]) == 0
    assert "102,410  model.safetensors" in (shown := capsys.readouterr().out)
    assert "to: me/model on the hub, a private model repository" in shown
    repository = hub.repositories["models/me/model"]
    assert repository.private
    assert repository.commits == [contents(folder)]
    before = len(hub.requests)
    assert main(["push", str(folder), "--to", "me/model", "--yes"]) == 0
    assert len(repository.commits) == 1
    assert not [line for line in hub.requests[before:] if line.startswith("PUT")]
    assert hub.tokens <= {None, f"Bearer {hub.environment['HF_TOKEN']}"}


def test_what_everybody_sees_must_be_asked_for(
    hub: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", str(folder), "--to", "me/model", "--yes"]
    assert main([*words, "--public"]) == 0
    assert not hub.repositories["models/me/model"].private
    assert main(words) == TrackingError("").exit_code
    assert "me/model is public on the hub; if that is meant: --public" in capsys.readouterr().err


def test_nobody_is_asked_where_nobody_sits(
    hub: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(folder), "--to", "me/model"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", f"# Mine\n\nmade with {CANARY}"),
        ("config.json", '{\n "api_key": "canary-of-mine"}'),
        ("task.json", '{"database": "postgresql://me:canary-of-mine@host/db"}'),
        ("example.py", "# 1\n# 2\nPASSWORD = 'canary-of-mine'"),
        ("tokenizer_config.json", '{"name": "canary-of-the-environment"}'),
        ("LICENSE", "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary"),
    ],
)
def test_a_secret_never_leaves(
    hub: Any,
    folder: Path,
    file: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "canary-of-the-environment")
    (folder / file).write_text(text)
    assert main(["push", str(folder), "--to", "me/model", "--yes"]) == 2
    assert f"{file}, line {1 + text[: text.rindex('canary')].count(chr(10)) - (file == 'LICENSE')}:" in (
        said := capsys.readouterr().err
    )
    assert "canary" not in said
    assert b"canary" not in hub.everything()
    assert not hub.requests


def test_a_secret_in_another_encoding_is_found(folder: Path) -> None:
    (folder / "LICENSE").write_text(f"made with {CANARY}", encoding="utf-16")
    with pytest.raises(ConfigError, match="LICENSE, line 1: given what looks like a secret"):
        publishing.choose_files(folder)


def test_an_export_is_pushed_whole_and_without_what_its_machine_was(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")
    (folder / "evaluations" / "1").mkdir(parents=True)
    names = {"run.json", "overrides.yaml", "data.json", "evaluations/1/config.yaml"}
    for name in (*names, "export.json", "task.json", "config.yaml", "example.py"):
        (folder / name).write_text("{}")
    assert main(["push", str(folder), "--to", str(tmp_path / "published")]) == 0
    assert contents(folder).keys() - contents(tmp_path / "published").keys() == names
    assert resolve_run(tmp_path / "published") == tmp_path / "published"  # predict takes it


def test_rows_stay_at_home_unless_they_are_named(hub: Any, folder: Path, tmp_path: Path) -> None:
    for name, text in DATA.items():  # some are called almost like files of a model
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "elsewhere.json").write_text("a secret row")
    (folder / "generation_config.json").symlink_to(tmp_path / "elsewhere.json")
    upload = publishing.choose_files(folder)
    assert {*upload.left_out} == {*DATA, "generation_config.json"}
    publishing.push(upload, "me/model", private=True)
    assert b"a secret row" not in hub.everything()
    assert main(["push", str(folder), "--to", "me/model", "--yes", "--include", "s*.csv"]) == 0
    assert hub.repositories["models/me/model"].commits[-1]["samples.csv"] == b"a secret row"
    assert len(hub.repositories["models/me/model"].commits[-1]) == 6


def test_a_local_folder_appears_whole_and_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "published"
    (tmp_path / "link").symlink_to(target)
    target.mkdir()
    assert main(["push", str(folder), "--to", str(tmp_path / "link")]) == 0
    assert contents(target) == contents(folder)
    assert main(["push", str(folder), "--to", str(target)]) == 2
    assert contents(target) == contents(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model", "published"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["FOLDER", "--to", "reviews"],
            "given 'reviews', expected OWNER/NAME on the hub, or a folder: ./reviews",
        ),
        (["FOLDER"], "--to: given nothing"),
        (["FOLDER/1_Pooling", "--to", "./x"], "given a folder without weights"),
        (["outputs", "--to", "./x"], "outputs is no run, export or model folder; expected weights or a"),
        (["./project", "--to", "./x"], "project is no run, export or model folder"),
        (["--to", "./x"], "given nothing, expected one run or folder"),
        (["FOLDER", "--to", "FOLDER/config.json/x"], "cannot be written: File exists"),
        (["FOLDER", "--to", "./x", "--include", "*.cvs"], "has no file like '*.cvs'"),
        (["--dataset", "FOLDER", "--to", "./x"], "expected overrides with --dataset"),
        (["--dataset", "dataset=vader"], "--to: given nothing"),
        (["FOLDER", "--to", "me/model", "--yes"], "hf auth login, or the variable HF_TOKEN"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    shutil.copytree(folder, folder.parent / "outputs" / "mine" / "run" / "best")
    shutil.copytree(folder, folder.parent / "project")
    (folder.parent / "project" / "outputs" / "mine" / "run").mkdir(parents=True)
    (folder.parent / "project" / "outputs" / "mine" / "run" / "run.json").write_text("{}")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(folder / "none"))
    assert main(["push", *(word.replace("FOLDER", str(folder)) for word in words)]) != 0
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize("line", ["repos/create", "/commit/main"])
def test_after_a_broken_connection_the_next_push_completes_it(hub: Any, folder: Path, line: str) -> None:
    broken: list[str] = []

    def breaks(request: str) -> bool:
        is_now = line in request and not broken
        broken.extend([request] * is_now)
        return is_now

    hub.breaks = breaks
    upload = publishing.choose_files(folder)
    with pytest.raises(TrackingError, match="the hub does not take me/model: Server disconnected"):
        publishing.push(upload, "me/model", private=True)
    assert all(not one.commits for one in hub.repositories.values())
    publishing.push(upload, "me/model", private=True)
    assert sum(line.startswith("PUT") for line in hub.requests) == 1  # what is there is not sent twice
    assert hub.repositories["models/me/model"].commits == [contents(folder)]


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="without weights"):
        publishing.choose_files(tmp_path)


@pytest.mark.slow
def test_twenty_kills_leave_one_complete_commit(folder: Path, make_hub: Callable[[], Any]) -> None:
    (folder / "model.safetensors").write_bytes(random.Random(0).randbytes(20_000_000))
    hub, chance = make_hub(), random.Random(0)
    command = [sys.executable, "-m", "runwright", "push", str(folder), "--to", "me/model", "--yes"]
    environment, kills = {**os.environ, **hub.environment}, 0
    for number in range(20):
        before = len(hub.requests)
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            while len(hub.requests) < before + number % 10 and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() / 50)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        commits = [made for one in hub.repositories.values() for made in one.commits]
        assert commits in ([], [contents(folder)])
    subprocess.run(command, env=environment, check=True)
    assert hub.repositories["models/me/model"].commits == [contents(folder)]
    assert kills > 10


@pytest.mark.network
def test_the_real_hub_takes_a_model(folder: Path) -> None:
    if not huggingface_hub.get_token():
        pytest.skip("needs a token with the right to write: HF_TOKEN")
    api = huggingface_hub.HfApi()
    repo = f"{api.whoami()['name']}/runwright-test-{uuid.uuid4().hex[:8]}"
    try:
        publishing.push(publishing.choose_files(folder), repo, private=True)
        assert {*contents(folder)} <= {*api.list_repo_files(repo)}
    finally:
        api.delete_repo(repo, missing_ok=True)
