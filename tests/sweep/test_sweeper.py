"""The sweeper under a plain Hydra application: budget, failures, pruning, kills, drivers, launchers."""

from __future__ import annotations

import io
import json
import os
import pty
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState
from rich.console import Console

from runwright.errors import ConfigError
from runwright.sweep.driver import Driver, board
from runwright.sweep.options import SweeperConf
from runwright.sweep.processes import Pool
from runwright.sweep.space import read_space
from runwright.sweep.study import (
    ENDED,
    LOST,
    REFUSED,
    ask,
    best_trials,
    count,
    finished_like,
    note,
    open_study,
    repeat,
    settle_identity,
    take_up_lost,
    tell,
)
from runwright.sweep.trial import after_answer, is_best

RunSweep = Callable[..., str]
Command = Callable[..., list[str]]


def trials_of(folder: Path) -> list[tuple[str, dict[str, float | str]]]:
    """State and parameters of the trials that count."""
    study = open_study(SweeperConf(study_name="study", storage=str(folder / "study" / "study.journal")))
    return [
        (trial.state.name, trial.params)
        for trial in study.trials
        if not {LOST, REFUSED} & trial.user_attrs.keys()
    ]


def test_the_budget_counts_trials_in_all_and_the_next_call_goes_on(sweep: RunSweep, tmp_path: Path) -> None:
    assert "0 of 3 trials done" in sweep("x=interval(0,9)", "hydra.sweeper.n_trials=3")
    first = trials_of(tmp_path)
    assert [state for state, _ in first] == ["COMPLETE"] * 3
    assert "3 of 5 trials done" in sweep("x=interval(0,9)", "hydra.sweeper.n_trials=5")
    assert trials_of(tmp_path)[:3] == first
    assert len({str(params) for _, params in trials_of(tmp_path)}) == 5  # none is drawn a second time
    before = (tmp_path / "begun.txt").read_text()
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=5")
    assert (tmp_path / "begun.txt").read_text() == before


def test_failures_are_recorded_and_the_sweep_goes_on(sweep: RunSweep, tmp_path: Path) -> None:
    text = sweep(
        "x=1", "y=ok,raise,not_a_number,nothing,kill", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_jobs=2"
    )
    states = {str(params["y"]): state for state, params in trials_of(tmp_path)}
    assert states == {"ok": "COMPLETE", **dict.fromkeys(("raise", "not_a_number", "nothing", "kill"), "FAIL")}
    for reason in (
        "RuntimeError: the trial's own",
        "it returned [nan]",
        "it returned None",
        "killed by SIGKILL",
    ):
        assert f"FAILED: {reason}" in text
    assert "output.txt" in text


def test_an_objective_that_is_no_result_is_told_with_those_that_are(sweep: RunSweep, tmp_path: Path) -> None:
    text = sweep("x=choice(1)", "y=mapping", "hydra.sweeper.n_trials=1", "hydra.sweeper.objectives=valve")
    assert "trial 0 FAILED: objectives: given valve, expected numbers among value" in text


def test_a_fork_server_that_was_there_before_the_sweep_serves_it(sweep: RunSweep, tmp_path: Path) -> None:
    app = tmp_path / "app.py"  # as in a notebook: it has imported nothing, and Hydra's plugins neither
    text = app.read_text().replace("    main()\n", """
    import multiprocessing
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    process.start()
    process.join()
    main()
""")  # fmt: skip
    store = (
        "from hydra.core.config_store import ConfigStore; import pickle; pickle.dumps(ConfigStore.instance())"
    )
    app.write_text(text.replace("value = ", f"{store}\n    value = ", 1))
    assert "trial 0 FINISHED" in sweep("x=interval(0,9)", "hydra.sweeper.n_trials=1")


def test_failures_in_a_row_end_the_sweep(sweep: RunSweep, tmp_path: Path) -> None:
    text = sweep("x=interval(0,9)", "y=raise", "hydra.sweeper.n_trials=9", "hydra.sweeper.max_failures=2")
    assert "2 failures in a row" in text
    assert len(trials_of(tmp_path)) == 2


def test_a_trial_that_takes_too_long_is_ended(sweep: RunSweep, tmp_path: Path) -> None:
    limit = "hydra.sweeper.trial_minutes=0.02"
    text = sweep("x=choice(1)", "wait=20", "hydra.sweeper.n_trials=1", limit)
    assert "took longer than 0.02 minutes" in text
    assert trials_of(tmp_path)[0][0] == "FAIL"


@pytest.mark.slow
def test_a_killed_trial_ends_though_processes_of_its_own_live_on(tmp_path: Path) -> None:
    pool = Pool([{}], preload=[], minutes=None)
    pool.start(0, leave_a_process, environment={}, output=tmp_path / "output.txt")
    began, ended = time.monotonic(), list[Any]()
    while not ended and time.monotonic() < began + 30:
        ended = list(pool.ended(timeout=0.2))
    assert [answer["reason"] for _, answer, _ in ended] == ["killed by SIGKILL"]


def leave_a_process() -> None:
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # with the trial's end of the pipe


def test_a_job_answers_before_it_finishes_what_nobody_waits_for(tmp_path: Path) -> None:
    pool = Pool([{"CUDA_VISIBLE_DEVICES": "0"}, {}, {}], preload=[], minutes=None)
    for number in range(2):
        pool.start(number, answer_and_stay, environment={}, output=tmp_path / f"{number}.txt")
    answers, until = dict[int, Any](), time.monotonic() + 60
    while len(answers) < 2 and time.monotonic() < until:
        answers |= {number: answer for number, answer, _ in pool.ended(timeout=0.2)}
    assert answers == {0: {"value": 7}, 1: {"value": 7}}
    assert pool.free_slot() == 1  # the first one's process may have memory on its device
    for job in pool.leaving:
        job.process.kill()
    while pool.leaving and time.monotonic() < until:
        assert not list(pool.ended(timeout=0.2))
    assert pool.free_slot() == 0


def answer_and_stay() -> int:
    after_answer(partial(time.sleep, 60))
    return 7


def test_a_bad_trial_is_pruned(sweep: RunSweep, tmp_path: Path) -> None:
    options = ["hydra.sweeper.pruner=median", "+hydra.sweeper.pruner_options.n_startup_trials=2"]
    sweep("x=choice(3,4,9)", "steps=3", "hydra.sweeper.sampler=grid", *options)
    states = {str(params["x"]): state for state, params in trials_of(tmp_path)}
    assert states == {"3": "COMPLETE", "4": "COMPLETE", "9": "PRUNED"}


def test_first_trials_are_tried_first_and_the_same_one_is_not_run_twice(
    sweep: RunSweep, tmp_path: Path
) -> None:
    first = "hydra.sweeper.first=[{x: '7'}]"
    text = sweep("x=choice(1,7)", first, "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler=random")
    assert trials_of(tmp_path)[0] == ("COMPLETE", {"x": "7"})
    assert "again, and takes its values" in text
    assert len([line for line in (tmp_path / "begun.txt").read_text().splitlines() if "end" in line]) == 2


def begun(folder: Path) -> list[tuple[str, str]]:
    """Seed and x of trials in the order in which they began."""
    lines = (folder / "begun.txt").read_text().splitlines()
    return [(line.split()[0], line.split()[1]) for line in lines if not line.startswith("end")]


def test_the_best_few_are_repeated_with_further_seeds_and_never_pruned(
    sweep: RunSweep, tmp_path: Path
) -> None:
    options = ["hydra.sweeper.sampler=grid", "hydra.sweeper.pruner=threshold", "steps=1"]
    options += ["+hydra.sweeper.pruner_options.upper=4", "hydra.sweeper.seeds=3"]
    sweep("x=choice(3,4,9,2,5,8)", *options)  # (x - 3)² + 1 is above the threshold from 5 on
    assert [pair[0] for pair in begun(tmp_path)[:6]] == ["5"] * 6
    expected = [(seed, x) for x in "342" for seed in "67"]
    assert sorted(begun(tmp_path)[6:]) == sorted(expected)
    states = Counter(state for state, _ in trials_of(tmp_path))
    assert states == {"COMPLETE": 9, "PRUNED": 3}
    sweep("x=choice(3,4,9,2,5,8)", *options)
    assert len(begun(tmp_path)) == 12  # nothing is left to do
    study = open_study(SweeperConf(study_name="study", storage=str(tmp_path / "study" / "study.journal")))
    assert [trial.params["x"] for trial in best_trials(study)] == ["3"]
    assert count(study, *ENDED) == 6  # more of them are no trials of the budget


def test_seeds_are_refused_where_an_application_has_none(sweep: RunSweep) -> None:
    text = sweep("x=1,2", "seed=choice(1,2)", "hydra.sweeper.seeds=2", ok=False)
    assert "hydra.sweeper.seeds: given 2, expected 1 for several objectives, and where 'seed' is an" in text


def test_of_drivers_that_begin_the_same_seed_at_once_one_goes_on(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"))
    space = read_space([], {"x": "choice(1)"})
    study = open_study(options)
    asked = ask(study, space, {}, options=options)
    assert asked is not None
    tell(study, asked[0].number, [1.0], reason="")
    drivers = [{"host": "here", "pid": number, "started": 0.0} for number in (1, 2)]
    first = repeat(study, drivers[0], seeds=2, first=0)
    assert first is not None
    assert first.user_attrs["overrides"] == ["x=1", "seed=1"]
    assert repeat(study, drivers[1], seeds=2, first=0) is None
    note(study, first.number, LOST, "its driver died")
    note(study, first.number, "run", "outputs/a")
    study.tell(first.number, state=TrialState.FAIL)
    again = repeat(study, drivers[1], seeds=2, first=0)
    assert again is not None
    assert again.user_attrs["run"] == "outputs/a"  # where it goes on


def test_a_trial_is_judged_by_its_objective_also_where_a_list_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: Any = {"objectives": ["validation/f1"], "direction": "maximize", "sampler": "random"}
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"), **more)
    study, space = open_study(options), read_space([], {"x": "interval(0,9)"})
    for value in (0.5, None):
        asked = ask(study, space, {}, options=options)
        assert asked is not None
        if value is not None:
            tell(study, asked[0].number, [value], reason="")
    monkeypatch.setenv("RUNWRIGHT_TRIAL", json.dumps({**asdict(options), "number": 1}))
    assert is_best({"validation/f1": 0.6, "validation/loss": 0.1}, "validation/loss")
    assert not is_best({"validation/f1": 0.4, "validation/loss": 0.1}, "validation/loss")


def test_trials_of_a_launcher_are_seen_to_live_while_it_has_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"), sampler="random")
    study, space = open_study(options), read_space([], {"x": "interval(0,9)"})
    here = {"host": "here", "pid": 1, "started": 0.0}
    asked = ask(study, space, here, options=options)
    assert asked is not None
    number = asked[0].number
    note(study, number, "alive", 0.0)  # it was asked for long ago
    monkeypatch.setattr("runwright.sweep.driver.BEAT_SECONDS", 0.01)
    driver = SimpleNamespace(study=study)
    with Driver._beating(cast("Any", driver), [number]):
        until = time.monotonic() + 5
        while not study.trials[number].user_attrs["alive"] and time.monotonic() < until:
            time.sleep(0.01)
    assert take_up_lost(study, {"host": "there", "pid": 2, "started": 0.0}) == []


def test_trials_that_run_are_a_table_with_the_best_and_the_time_left(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"), sampler="random")
    study, space = open_study(options), read_space(["y=ok"], {"x": "interval(0,9)"})
    for value in (3.0, 1.0, None, None):
        asked = ask(study, space, {}, options=options)
        assert asked is not None
        asked[0].report(7.5, 2)
        if value is not None:
            tell(study, asked[0].number, [value], reason="")
    tell(study, 2, None, reason="TrialPruned")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(board(study, [3], budget=9, slots=1, fixed=["y=ok"]))
    text = console.export_text()
    assert re.search(
        r"3 of 9 trials ended, best 1 \(trial 1\), 1 pruned, 0 failed, about 0:\d\d:\d\d left", text
    )
    assert "7.5 at 2" in text
    assert f"x={study.trials[3].params['x']:.4g}" in text


@pytest.mark.slow
def test_on_a_terminal_the_trials_that_run_are_redrawn_below_the_lines(app: Command, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = app("x=interval(0,9)", "steps=2", "wait=1", "hydra.sweeper.n_trials=2")
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    text = b""
    with suppress(OSError):  # so a terminal ends on Linux
        while more := os.read(ours, 65536):
            text += more
    os.close(ours)
    assert process.wait() == 0
    for expected in (b"0 of 2 trials ended", b"1 of 2 trials ended, best ", b"trial 1 FINISHED", b" at 1 "):
        assert expected in text, text.decode()


def test_what_is_finished_is_run_again_where_code_or_data_changed(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"))
    study, space = open_study(options), read_space([], {"x": "choice(1)"})
    same = []
    for identity in ({"code": "a", "axis x": "1"}, {"code": "a", "axis x": "1 2"}, {"code": "b"}):
        settle_identity(study, identity, allow_changes=True)
        asked = ask(study, space, {}, options=options)
        assert asked is not None
        same.append(finished_like(study, asked[0].number, asked[1]))
        tell(study, asked[0].number, [1.0], reason="")
    assert [trial and trial.number for trial in same] == [None, 0, None]  # another axis makes no other trial
    with pytest.raises(ConfigError, match='code: "b" → "c"'):
        settle_identity(study, {"code": "c"}, allow_changes=False)
    settle_identity(study, {"fixed": ["a=1", "b=1"]}, allow_changes=True)
    with pytest.raises(ConfigError, match=r'settings:\n  fixed: \["b=1"\] → \["b=2"\]\n'):
        settle_identity(study, {"fixed": ["a=1", "b=2"]}, allow_changes=False)


def test_choices_of_quasi_random_trials_differ_after_a_restart(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"), sampler="qmc")
    space = read_space([], {"x": "interval(0,9)", "y": "choice(a,b)"})
    drawn = []
    for _ in range(6):
        asked = ask(open_study(options), space, {}, options=options)
        assert asked is not None
        drawn.append(asked[1])
    assert len({x for x, _ in drawn}) == 6
    assert {y for _, y in drawn} == {"y=a", "y=b"}


def test_another_space_is_refused_with_the_difference_unless_allowed(sweep: RunSweep, tmp_path: Path) -> None:
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=1")
    text = sweep("x=interval(0,5)", "+z=1", "hydra.sweeper.n_trials=2", ok=False)
    assert 'axis x: "0.0 to 9.0" → "0.0 to 5.0"' in text
    assert "  z: null → 1\n" in text
    assert "fixed" not in text  # lists that say nothing more
    assert "allow_changes=true" in text
    sweep("x=interval(0,5)", "hydra.sweeper.n_trials=2", "hydra.sweeper.allow_changes=true")
    assert len(trials_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["hydra.sweeper.sampler=tep"], "tpe; did you mean 'tpe'?"),
        (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs: given 0, expected more than 0"),
        (["+hydra.sweeper.sampler_options.a=1"], "sampler_options: tpe does not take them"),
        (
            ["hydra.sweeper.pruner=median", "hydra.sweeper.direction=[minimize,maximize]"],
            "several objectives",
        ),
        (["hydra.sweeper.objectives=[a,b]"], "direction: given minimize, expected minimize or maximize, for"),
    ],
)
def test_wrong_options_are_refused(sweep: RunSweep, options: list[str], text: str) -> None:
    assert text in sweep("x=interval(0,9)", *options, ok=False)


def test_a_torn_journal_is_mended(sweep: RunSweep, tmp_path: Path) -> None:
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=2")
    journal = tmp_path / "study" / "study.journal"
    whole = journal.read_bytes()
    for cut in (b'{"op_code": 4, "wor', b"x"):
        with journal.open("ab") as file:
            file.write(cut)
        assert len(trials_of(tmp_path)) == 2
        assert journal.read_bytes() == whole
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=3")
    assert len(trials_of(tmp_path)) == 3


def test_a_value_that_is_none_of_the_choices_is_told_and_counts_as_no_trial(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"))
    study = open_study(options)
    space = read_space([], {"x": "choice(1,2)"})
    study.enqueue_trial({"x": 3})  # by another program
    with pytest.raises(ConfigError, match=r"trial 0 cannot be drawn: .*3.* not in"):
        ask(study, space, {}, options=options)
    assert not count(study, TrialState.RUNNING, *ENDED)


@pytest.mark.parametrize("content", [b"notes\nwithout an end", b"SQLite format 3\0", b'{"a": 1}'])
def test_a_file_that_is_no_journal_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is no journal of Optuna's; a database is sqlite"):
        open_study(SweeperConf(study_name="study", storage=str(file)))
    assert file.read_bytes() == content


@pytest.mark.parametrize("storage", ["foo://bar", "postgresql://u:hunter2@127.0.0.1:1/db", "grpc://host:x"])
def test_storage_that_cannot_be_opened_is_one_line(storage: str) -> None:
    with pytest.raises(ConfigError, match="study 'study' cannot be opened: ") as error:
        open_study(SweeperConf(study_name="study", storage=storage))
    assert "hunter2" not in str(error.value)


def test_a_broken_line_inside_of_a_journal_is_told(tmp_path: Path) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"))
    open_study(options)
    file = tmp_path / "journal"
    file.write_text(file.read_text() + "{broken\n" + file.read_text())
    with pytest.raises(ConfigError, match="study 'study' cannot be opened"):
        open_study(options)


def test_two_drivers_share_a_study_and_each_trial_is_run_once(app: Command, tmp_path: Path) -> None:
    options = ["x=interval(0,9)", "wait=0.1", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=2"]
    drivers = [
        subprocess.Popen(
            app(*options, f"+driver={name}", "hydra.sweeper.not_compared=[driver]"), cwd=tmp_path
        )
        for name in "ab"
    ]
    assert [driver.wait() for driver in drivers] == [0, 0]
    states = trials_of(tmp_path)
    assert Counter(state for state, _ in states) == {"COMPLETE": 12}
    assert len({str(params) for _, params in states}) == 12


def test_drivers_that_ask_at_the_same_moment_draw_different_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SweeperConf(study_name="study", storage=str(tmp_path / "journal"), sampler="random")
    here, there, space = open_study(options), open_study(options), read_space([], {"x": "interval(0,9)"})
    asked: list[Any] = []

    def ask_after_the_other() -> Trial:
        asked.append(ask(there, space, {"pid": 2}, options=options))
        return Study.ask(here)

    monkeypatch.setattr(here, "ask", ask_after_the_other)
    asked.append(ask(here, space, {"pid": 1}, options=options))
    first, second = (trial.params["x"] for trial, _ in asked)
    assert first != second


def test_no_two_trials_have_one_slot_at_a_time(sweep: RunSweep, tmp_path: Path) -> None:
    devices = "hydra.sweeper.devices=['0','1']"
    sweep("x=interval(0,9)", "wait=0.1", "hydra.sweeper.n_trials=6", devices)
    busy: set[str] = set()
    slots: set[str] = set()
    for line in sorted((tmp_path / "begun.txt").read_text().splitlines(), key=lambda line: line.split()[-1]):
        slot = line.split()[-2]
        assert (slot in busy) == line.startswith("end")
        busy ^= {slot}
        slots.add(slot)
    assert slots == {"0", "1"}


def test_a_grid_is_the_same_under_every_launcher(sweep: RunSweep, tmp_path: Path) -> None:
    grid = ["x=1,2", "y=a,b", "hydra.sweeper.sampler=grid"]
    sweep(*grid, "hydra.sweeper.n_jobs=2")
    local = trials_of(tmp_path)
    (tmp_path / "study" / "study.journal").unlink()
    text = sweep(*grid, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert text.count("is launching 2 jobs") == 2
    assert sorted(map(str, trials_of(tmp_path))) == sorted(map(str, local))
    assert len(local) == 4


@pytest.mark.slow
def test_a_driver_that_is_killed_ten_times_runs_its_budget_each_trial_once(
    app: Command, tmp_path: Path
) -> None:
    options = [
        "x=interval(0,9)",
        "y=choice(ok,raise,nothing)",
        "wait=0.1",
        "steps=3",
        "hydra.sweeper.n_jobs=2",
    ]
    command = app(*options, "hydra.sweeper.n_trials=20", "hydra.sweeper.max_failures=99")
    chance = random.Random(0)
    for _ in range(10):
        driver = subprocess.Popen(command, cwd=tmp_path)
        time.sleep(chance.uniform(0.8, 2.5))
        driver.kill()
        driver.wait()
    subprocess.run(command, cwd=tmp_path, check=True)
    states = trials_of(tmp_path)
    assert len(states) == 20
    assert {state for state, _ in states} <= {"COMPLETE", "FAIL"}
    assert len({str(params) for _, params in states}) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_driver_and_is_no_failure_of_a_trial(
    app: Command, tmp_path: Path, number: signal.Signals
) -> None:
    driver = subprocess.Popen(app("x=interval(0,9)", "wait=30", "hydra.sweeper.n_trials=9"), cwd=tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / "begun.txt").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    driver.send_signal(number)
    assert driver.wait(timeout=60) == 0
    assert [state for state, _ in trials_of(tmp_path)] == ["RUNNING"]  # for the next driver
