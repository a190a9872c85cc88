"""`runwright doctor --bundle`: what is in the archive, and what must not be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from runwright.cli.main import main
from runwright.runs.folder import create

CANARY = "canary-7f3a9c-value"  # in every secret below


def test_the_archive_has_what_a_report_needs_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAB_TOKEN", f"{CANARY}-of-the-environment")
    folder = create({"name": "demo", "output_dir": "outputs"}, overrides=[], command=[])
    uri, token = f"https://user:{CANARY}@host/path", f"hf_{CANARY.replace('-', '')}xyz"
    config = {"name": "demo", "tracker": {"uri": uri}, "model": {"api_key": [CANARY]}, "seed": 3}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    diff = f'+password = "{CANARY}"\n+rate = 0.5'
    (folder / "provenance.json").write_text(json.dumps({"git": {"diff": diff}, "packages": {"torch": "2"}}))
    log = f"step 1\nlogging in with {CANARY}-of-the-environment\ntoken={CANARY}, from {tmp_path}\n"
    (folder / "log.txt").write_text(log)
    (folder / "traceback.txt").write_text(f"Error: Authorization: Bearer {CANARY} or {token}\n")
    (folder / "workers").mkdir()
    (folder / "workers" / "rank-1.log").write_text(f"secret: {CANARY}\nSIGSEGV\n")
    (folder / "summary.json").write_text(f'{{"torn": "{uri}')
    (tmp_path / "elsewhere.txt").write_text("not of the run")
    (folder / "resumes.jsonl").symlink_to(tmp_path / "elsewhere.txt")
    (folder / "predictions").mkdir()
    (folder / "predictions" / "test.jsonl").write_text('{"text": "a private text"}\n')

    assert main(["doctor", "--bundle", "latest"]) == 0
    file, _, names = capsys.readouterr().out.splitlines()[0].partition(": ")
    with zipfile.ZipFile(file) as archive:
        texts = {Path(name).name: archive.read(name).decode() for name in archive.namelist()}
    everything = "\n".join(texts.values())
    assert CANARY not in everything
    assert CANARY.replace("-", "") not in everything
    assert "not of the run" not in everything
    assert "a private text" not in everything
    assert str(tmp_path) not in everything
    assert {"config.yaml", "provenance.json", "log.txt", "traceback.txt", "doctor.json"} <= texts.keys()
    assert {"run.json", "rank-1.log", "summary.json"} <= texts.keys()
    assert set(names.split(", ")) >= {"doctor.json", "workers/rank-1.log"}
    assert yaml.safe_load(texts["config.yaml"])["seed"] == 3
    assert json.loads(texts["provenance.json"])["git"]["diff"].endswith("rate = 0.5")
    assert texts["log.txt"].startswith("step 1\n")
    assert texts["rank-1.log"].endswith("SIGSEGV\n")
    assert json.loads(texts["doctor.json"])[0]["what"] == "torch"
