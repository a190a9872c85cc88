"""A run's folder belongs to one run, says who it is, and is found again."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from runwright.analysis.runs import read_rows
from runwright.errors import ConfigError
from runwright.runs.folder import (
    create,
    find_copies,
    find_runs,
    read_config,
    read_run,
    read_saved,
    resolve_run,
    update_status,
    whole_runs,
)
from runwright.runs.states import find_dead


def make(root: Path, name: str = "first", **more: Any) -> Path:
    config = {"name": name, "output_dir": str(root), **more}
    return create(config, overrides=["seed=1"], command=["runwright", "train"])


def test_the_folder_says_who_the_run_is(tmp_path: Path) -> None:
    folder = make(tmp_path, lr=1e-5, text="1e-5")
    record = read_run(folder)
    assert folder.parent == tmp_path / "first"
    assert folder.name.endswith(record["run_id"][:6])
    assert (record["status"], record["name"], record["overrides"]) == ("CREATED", "first", ["seed=1"])
    assert {"host", "pid", "boot_id", "start_time", "versions", "permissions", "command"} <= set(record)


def test_numbers_and_texts_come_back_as_they_were(tmp_path: Path) -> None:
    values = {"lr": 1e-5, "text": "1e-5", "none": None, "yes": "yes", "list": [1, "1"], "unicode": "žluť 🐎"}
    read = read_config(make(tmp_path, **values) / "config.yaml")
    assert {key: read[key] for key in values} == values


def test_64_runs_of_8_processes_in_the_same_second_get_64_folders(tmp_path: Path) -> None:
    code = (
        "import sys, time; from runwright.runs.folder import create\n"
        "sys.stdin.readline()\n"
        "for n in range(8): print(create({'name': 'n', 'output_dir': sys.argv[1], 'seed': n},"
        " overrides=[], command=[]), flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for process in processes:  # all are ready and start together
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    folders = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert len(set(folders)) == len(folders) == 64
    assert len(find_runs(tmp_path)) == 64
    assert len({read_run(Path(folder))["run_id"] for folder in folders}) == 64


def test_a_taken_name_is_never_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uuid

    ids = iter([uuid.UUID(int=1), uuid.UUID(int=1), uuid.UUID(int=2 << 104)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(ids))
    monkeypatch.setattr(time, "strftime", lambda *_: "2026-01-31_12-00-00")
    assert make(tmp_path).name == "2026-01-31_12-00-00-000000"
    assert (
        make(tmp_path).name != "2026-01-31_12-00-00-000000"
    )  # the second draw of the same id is thrown away


def test_the_status_changes_in_one_step(tmp_path: Path) -> None:
    folder = make(tmp_path)
    update_status(folder, "RUNNING", pid=7)
    assert update_status(folder, "FINISHED")["pid"] == 7
    assert json.loads((folder / "run.json").read_text())["status"] == "FINISHED"
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "overrides.yaml", "run.json"]


# --- finding a run again ------------------------------------------------------------------------------


def test_a_run_is_found_by_path_id_prefix_and_latest(tmp_path: Path) -> None:
    one, two, other = make(tmp_path), make(tmp_path), make(tmp_path, "second")
    run_id = read_run(one)["run_id"]
    for reference in (one, str(one), one.name, f"first/{one.name}", run_id[:6], run_id[:10], run_id):
        assert resolve_run(reference, output_dir=tmp_path) == one
    assert resolve_run("latest", output_dir=tmp_path) == other
    assert resolve_run("latest:first", output_dir=tmp_path) == two


def add_model(folder: Path) -> None:
    (folder / "best").mkdir()
    for name in ("best/config.json", "task.json"):
        (folder / name).write_text("{}")


def test_the_latest_run_with_a_model_passes_over_newer_ones_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, other = make(tmp_path), make(tmp_path), make(tmp_path, "second")
    update_status(two, "FAILED")
    assert resolve_run("latest", output_dir=tmp_path, needs_model=True) == other  # where none has one
    add_model(one)
    assert not caplog.messages
    assert resolve_run("latest:first", output_dir=tmp_path, needs_model=True) == one
    (said,) = caplog.messages
    assert f"{two} (FAILED) has no best model; taken: {one}" in said
    assert resolve_run("latest:first", output_dir=tmp_path) == two
    add_model(two)
    assert resolve_run("latest:first", output_dir=tmp_path, needs_model=True) == two
    assert resolve_run(one.name, output_dir=tmp_path, needs_model=True) == one
    assert len(caplog.messages) == 1


def test_a_copied_run_is_named_beside_its_original(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = make(tmp_path)
    copy = one.with_name("2020-01-01_backup")
    shutil.copytree(one, copy)
    assert find_copies(whole_runs(tmp_path)) == {copy: one}
    assert f"{copy} is a copy of {one}" in caplog.text
    shutil.rmtree(one)
    assert find_copies(whole_runs(tmp_path)) == {}  # it was renamed


def test_the_places_of_a_run_are_seen_from_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "data", elsewhere):
        folder.mkdir(parents=True)
    (project / "data" / "a.csv").touch()
    monkeypatch.chdir(project)
    files = {"train": ["data/a.csv", "~/b.csv"], "test": "data/*.csv", "dev": "/c.csv"}
    node = {"source": {"files": files, "folder": None}, "columns": {"data": "text"}, "stratify_by": "data"}
    folder = make(Path("outputs"), dataset=node)
    assert read_saved(folder)["dataset"] == node
    assert read_saved(folder)["output_dir"] == "outputs"
    moved = tmp_path / "renamed"
    project.rename(moved)
    monkeypatch.chdir(elsewhere)
    saved = read_saved(moved / folder.relative_to(project))
    assert saved["output_dir"] == str(moved / "outputs")
    at = f"{moved}/data"
    expected = {"train": [f"{at}/a.csv", "~/b.csv"], "test": f"{at}/*.csv", "dev": "/c.csv"}
    assert saved["dataset"] == {**node, "source": {"files": expected, "folder": None}}


def test_a_run_of_a_deep_output_folder_is_read_from_a_copy_near_the_root(tmp_path: Path) -> None:
    folder = make(tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "outputs")
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        copy = shutil.copytree(folder, Path(home, "first", folder.name))
        assert read_saved(copy)["output_dir"] == str(Path(home).resolve())


def test_a_full_disk_does_not_keep_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("runwright.runs.folder.write_json", refuse)
    update_status(folder, "FAILED", error="x" * 10_000)
    assert read_run(folder)["status"] == "FAILED"
    update_status(folder, "KILLED", end_time=5.0)
    assert (read_run(folder)["status"], read_run(folder)["end_time"]) == ("KILLED", 5.0)


def test_a_reproduction_is_not_the_latest_run(tmp_path: Path) -> None:
    one, two = make(tmp_path), make(tmp_path)
    update_status(two, "FINISHED", reproduces=read_run(one)["run_id"])
    assert resolve_run("latest", output_dir=tmp_path) == one
    update_status(one, "FINISHED", reproduces="a run elsewhere")
    assert resolve_run("latest", output_dir=tmp_path) == two


def test_a_run_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    make(tmp_path, "vader")
    with pytest.raises(ConfigError, match="did you mean 'latest:vader'"):
        resolve_run("latest:vadre", output_dir=tmp_path)
    for name in ("vader", str(tmp_path / "vader")):  # of an experiment, not of a run
        with pytest.raises(ConfigError, match="did you mean 'latest:vader'"):
            resolve_run(name, output_dir=tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'latest'"):
        resolve_run("lates", output_dir=tmp_path)
    with pytest.raises(ConfigError, match="1 runs"):
        resolve_run("zzzzzz", output_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"no runs in \S+ yet\)$"):
        resolve_run("latest:x", output_dir=tmp_path / "nothing")


def test_the_start_of_two_ids_is_an_error_that_lists_them(tmp_path: Path) -> None:
    folders = [make(tmp_path) for _ in range(17)]  # 17 ids share one of 16 first digits
    digits = [folder.name.rpartition("-")[2][0] for folder in folders]
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(ConfigError, match="given the start of"):
        resolve_run(twice, output_dir=tmp_path)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: ${b}", "\xff"], ids=repr)
def test_a_config_that_cannot_be_read_is_an_error_with_its_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "{}", "[" * 100_000, '{"status": "RUNNING", "run_id": "x", "start_time": "today"}', ""],
)
def test_a_damaged_neighbour_is_a_warning_and_never_an_error(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, damaged = make(tmp_path, "vader"), make(tmp_path, "vader")
    (damaged / "run.json").write_text(text)
    (whole / "run.lock").write_text("[]")
    assert resolve_run("latest", output_dir=tmp_path) == whole
    assert "run.json cannot be read" in caplog.text
    assert str(damaged) in caplog.text
    assert [death.folder for death in find_dead(tmp_path)] == [whole]
    assert [row.folder for row in read_rows(tmp_path)] == [whole]
    with pytest.raises(ConfigError, match=r"run\.json: given .*expected the record of a run"):
        read_run(damaged)
