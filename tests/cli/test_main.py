"""The command as a user meets it: real processes, their output and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from runwright.cli.main import COMMANDS, main
from runwright.config.compose import compose_checked
from runwright.runs.folder import create
from runwright.runs.page import read_jobs


def runwright(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runwright", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **more},
    )


@pytest.mark.parametrize("name", ["outputs", "outputs/inside"])
def test_outputs_on_a_disk_that_is_not_there_are_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").symlink_to(tmp_path / "unmounted" / "outputs")
    assert main(["train", "experiment=vader", f"output_dir={name}"]) == 1
    assert capsys.readouterr().err == "outputs: a link that leads nowhere; output_dir=PATH is another place\n"


def test_a_file_where_a_folder_should_be_needs_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").touch()
    assert main(["train", "experiment=vader", "output_dir=outputs/inside"]) == 1
    assert capsys.readouterr().err.endswith(": Not a directory; choose another place\n")


@pytest.mark.parametrize(("place", "said"), [("/proc/x", "No such file"), ("x" * 300, "too long; choose")])
@pytest.mark.parametrize("words", ["train experiment=vader output_dir={}", "init {}/y", "evaluate {}/y"])
def test_a_place_that_cannot_be_is_one_line(
    words: str, place: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.format(place).split()) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line or "no run" in line
    assert len(line) < 500


# --- help and mistakes in the command -----------------------------------------------------------------


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in COMMANDS)
    assert "examples:" in text


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("sweep bset", "did you mean 'best'?"),
        ("export x --format onxx", "did you mean 'onnx'?"),
        ("predict x --features tokn", "did you mean 'token'?"),
        ("sweep zzzz", ")"),
    ],
)
def test_the_nearest_choice_is_suggested(words: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"{hint}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"runwright {name}" in text
    assert "examples:" in text


@pytest.mark.parametrize("name", ["main", *COMMANDS])
def test_examples_fit_on_a_narrow_terminal(name: str) -> None:
    examples = import_module(f"runwright.cli.{name}").EXAMPLES
    assert max(map(len, examples.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean 'train'?"),
        (["optimizer.lr=3"], "did you mean 'runwright train optimizer.lr=3'?"),
        (["nothing"], "commands: train"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_option_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--mutlirun", "seed=1,2"])
    assert stop.value.code == 2
    assert "did you mean '--multirun'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--experiment", "vader"], "an override has no dashes: experiment=<value>"),
        (["train", "--dataset=a.csv"], "an override has no dashes: dataset=a.csv"),
        (["train", "--learning-rate", "--batch-size"], "an override has no dashes: learning_rate=<value>"),
        (["train", "--optimizer.lr", "seed=1"], "an override has no dashes: optimizer.lr=<value>"),
        (["train", "-lr", "1e-4"], "an override has no dashes: lr=<value>"),
        (["validate", "name=\udce9"], "expected text in utf-8"),
        (["predict"], "required: RUN\n"),
    ],
)
def test_a_key_typed_as_an_option_is_answered_with_the_override(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--resume", ""], "--resume: given '', expected RUN\n"),
        (["train", "--resume="], "--resume: given '', expected RUN\n"),
        (["predict", "latest", "--file", ""], "--file: given '', expected FILE\n"),
        (["predict", "latest", "--text-column", "", "x"], "--text-column: given '', expected NAME\n"),
        (["predict", "", "x"], "RUN: given '', expected RUN\n"),
        (["ui", "--uri", ""], "--uri: given '', expected ADDRESS\n"),
        (["train", "-m", "--resume", "latest", "seed=1,2"], "--resume: given with -m or --cfg"),
        (["train", "--resolve"], "--resolve: given without --cfg job"),
        (["search", "query", "x", "a text", "--output", "f"], "--output: given with query, expected without"),
        (["search", "plot", "x", "--output", "f.html", "--format", "csv"], "--format: given with plot"),
        (
            ["tokenizer", "show", "x", "--file", "a.txt"],
            "--file: given with show, expected without: it is of",
        ),
        (["register", "latest", "--name", "films@x"], "--name and --alias: given 'films@x', expected"),
        (["predict", "latest", "--output", "a.jsonl", "--html", "b.html"], "--output: given with --html"),
        (
            ["predict", "latest", "x", "--file", "a.csv"],
            "--file: given with TEXT, expected one of them alone",
        ),
        (["predict", "latest", "x", "--delimiter", ";"], "--delimiter: given with TEXT"),
        (["predict", "latest", "--chat", "--html", "b.html"], "--html: given with --chat"),
        (["predict", "latest", "--chat", "--top-k", "3"], "--top-k: given with --chat"),
        (["serve", "latest", "--openai", "--set", "temperature=2"], "--set: given with --openai"),
        (["serve", "latest", "--openai", "--dtype", "fp32"], "--dtype: given with --openai"),
        (["doctor", "--bundle", "latest", "--fix"], "--fix: given with --bundle"),
        (["doctor", "--bundle", "latest", "--json"], "--json: given with --bundle"),
        (["init", "my", "project"], "project: given an override or a word too many, expected neither; usage"),
        (["validate", "dataset=csv", "dataset.source.files.train="], "files.train: given an empty text"),
        (["validate", "dataset=csv", 'dataset.source.files.train=[a.csv,""]'], "given an empty text"),
    ],
)
def test_an_empty_text_a_word_too_many_or_an_idle_option_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_command_prints_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: runwright" in capsys.readouterr().out


def test_options_and_overrides_may_be_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "seed=4", "--cfg", "job", "name=x"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert {"seed: 4", "name: x"} <= set(printed)


def test_a_printed_configuration_masks_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LOGIN", "hunter2x")
    address = "tracker.uri='http://ann:${oc.env:LAB_LOGIN}@example.org/'"
    printed = runwright("train", address, "--cfg", "job", "--resolve", folder=tmp_path)
    assert printed.returncode == 0
    assert "http://ann:[redacted]@example.org/" in printed.stdout
    assert "hunter2x" not in printed.stdout + printed.stderr


# --- --cfg job and validate ------------------------------------------------------------------------------


def test_what_is_composed_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "seed=9", "dataset=csv"]) == 0
    printed = capsys.readouterr().out
    assert "data: ${seed}" in printed
    assert "train: ???" in printed
    assert main(["train", "--cfg", "job", "--resolve", "seed=9"]) == 0
    assert "data: 9" in capsys.readouterr().out
    assert main(["train", "--cfg", "job", "--resolve", "dataset=csv"]) == 2
    assert "dataset.source.files.train: given ???" in capsys.readouterr().err


def test_validate_says_what_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "optimizer=sgd"]) == 0
    assert "optimizer=sgd" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["validate"], ["train"], ["validate", "--deep"]])
def test_a_missing_file_is_found_before_there_is_a_run(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\n")
    assert main([*command, "dataset=csv", "dataset.source.files.train=review.csv"]) == 3
    assert "no such file" in (shown := capsys.readouterr().err)
    assert "did you mean 'reviews.csv'?" in shown
    assert not (tmp_path / "outputs").exists()


def test_only_a_deep_check_calls_the_data_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("nothing of use\n")
    assert main(["validate", "dataset=csv", "dataset.source.files.train=a.csv"]) == 0
    shown = capsys.readouterr().out
    assert "right:" not in shown
    assert "rows and columns have not been looked at" in shown


def test_control_characters_of_a_key_are_shown_as_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "na\x1b[2Jme\u202e\x9b=1"]) == 2
    shown = capsys.readouterr().err
    assert "\\x1b" in shown
    assert {"\x1b", "\u202e", "\x9b"}.isdisjoint(shown)


MOODS = "review,mood\n" + "".join(f"a film {n},{'pos' if n % 2 else 'neg'}\n" for n in range(20))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["task.text_column=text"], "no such column; columns: 'review', 'mood'; task.text_column names it"),
        (["task.label_column=label"], "column 'label': no such column; columns: 'review', 'mood'"),
        (["task.label_names=[pos,bad]"], "unknown label 'neg'"),
        (["dataset.source.files={train: null, test: moods.csv}"], "there is no train split to learn from"),
        (["dataset.streaming=true", "task.label_names=[pos,neg]", "task.text_column=text"], "column 'text'"),
    ],
)
def test_a_deep_check_finds_columns_and_labels_that_training_could_not_use(
    more: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moods.csv").write_text(MOODS)
    right = [
        "dataset=csv", "dataset.source.files.train=moods.csv", "dataset.holdout.validation=0",
        "task.text_column=review", "task.label_column=mood", "model=scratch", "tokenizer=train/word",
        "trainer=steps", "trainer.max_steps=1",
    ]  # fmt: skip
    assert main(["validate", "--deep", *right]) == 0
    assert "\ntask: " in capsys.readouterr().out
    assert main(["validate", "--deep", *right, *more]) == 3
    shown = capsys.readouterr()
    assert says in shown.err
    assert "right:" not in shown.out


def test_a_deep_check_encodes_the_first_row_and_so_renders_the_chat_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = Tokenizer(WordLevel({"<end>": 0, "<unk>": 1, "a": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unk>")
    tokenizer.save_pretrained("words")
    (tmp_path / "chats.jsonl").write_text('{"prompt": "a", "completion": "a"}\n' * 4)
    data = ["dataset=json", "dataset.source.files.train=chats.jsonl", "dataset.holdout.validation=0"]
    task = ["task=instruction_tuning", "tokenizer.name=words", "model=scratch_decoder", "metric=[bleu]"]
    right = "{% for turn in messages %}{{ turn.content }} <end> {% endfor %}"
    for template, code in ((right, 0), (right + "{{ raise_exception('not so') }}", 3)):
        assert main(["validate", "--deep", *data, *task, f'task.chat_template="{template}"']) == code
    expected = "file 'chats.jsonl', line 1, split 'train', row 0: the chat template fails: not so"
    assert expected in capsys.readouterr().err


# --- train --------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A project folder with a sitecustomize that replaces the run itself: what is tested is the way to it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys, types\nfake = types.ModuleType('runwright.runs.execute')\n"
        "exec(open(__file__.replace('sitecustomize.py', 'fake.py')).read(), fake.__dict__)\n"
        "sys.modules['runwright.runs.execute'] = fake\n"
    )
    (tmp_path / "site" / "fake.py").write_text(
        "import json, os, sys\n"
        "def execute(folder):\n"
        "    from runwright.runs.folder import read_config, update_status\n"
        "    config = read_config(folder / 'config.yaml')\n"
        "    print('ran seed', config['seed'])\n"
        "    if config['seed'] == 13: raise SystemExit(7)\n"
        "    if config['seed'] == 9: os.kill(os.getpid(), 9)\n"
        "    value = 1 / config['seed']\n"
        "    summary = {'metrics': {'validation/loss': value, 'test/accuracy': 0.5}, 'pid': os.getpid()}\n"
        "    (folder / 'summary.json').write_text(json.dumps(summary))\n"
        "    update_status(folder, 'FINISHED')\n"
    )
    return tmp_path


def test_train_makes_a_folder_and_runs_it(stand_in: Path) -> None:
    process = runwright("train", "seed=2", "name=mine", folder=stand_in, PYTHONPATH=str(stand_in / "site"))
    assert process.returncode == 0, process.stderr
    assert process.stdout == "ran seed 2\n"
    (folder,) = (stand_in / "outputs" / "mine").iterdir()
    assert json.loads((folder / "run.json").read_text())["overrides"] == ["seed=2", "name=mine"]
    assert sorted(path.name for path in stand_in.iterdir()) == ["outputs", "site"]  # none of Hydra's


def test_a_run_that_was_made_and_has_not_begun_is_begun(stand_in: Path) -> None:
    environment = {"PYTHONPATH": str(stand_in / "site")}
    config = compose_checked([f"output_dir={stand_in}/outputs", "seed=2"]).config
    folder = create(config, overrides=["seed=2"], command=["test"])
    file, text = folder / "config.yaml", (folder / "config.yaml").read_text()
    file.write_text(text.replace("seed: 2", "seed: -2"))
    process = runwright("train", "--resume", str(folder), folder=stand_in, **environment)
    assert process.returncode == 2
    assert "seed: given -2" in process.stderr
    file.write_text(text)
    process = runwright("train", "--resume", str(folder), folder=stand_in, **environment)
    assert (process.returncode, process.stdout) == (0, "ran seed 2\n")
    assert not (folder / "resumes.jsonl").exists()


def test_a_finished_run_is_found_by_name_and_takes_no_other_seed(stand_in: Path) -> None:
    environment = {"PYTHONPATH": str(stand_in / "site")}
    runwright("train", "seed=2", folder=stand_in, **environment)
    process = runwright("train", "--resume", "latest", folder=stand_in, **environment)
    assert (process.returncode, process.stdout) == (0, "")
    assert "finished, nothing is left to do" in process.stderr
    assert runwright("train", "--resume", "latest", "seed=3", folder=stand_in, **environment).returncode == 2


def test_permissions_are_recorded(stand_in: Path) -> None:
    flags = ["--allow-package", "mine", "--trust-remote-code", "--allow-shadow"]
    process = runwright("train", "seed=2", *flags, folder=stand_in, PYTHONPATH=str(stand_in / "site"))
    assert process.returncode == 0, process.stderr
    (folder,) = (stand_in / "outputs" / "default").iterdir()
    expected = {"packages": ["mine"], "trust_remote_code": True, "changed_data": False, "shadow": True}
    assert json.loads((folder / "run.json").read_text())["permissions"] == expected


def test_interrupting_exits_with_130(tmp_path: Path) -> None:
    code = (
        "import sys, types, time\nfake = types.ModuleType('runwright.runs.execute')\n"
        "def execute(folder):\n    print('started', flush=True)\n    time.sleep(60)\n"
        "fake.execute = execute\nsys.modules['runwright.runs.execute'] = fake\n"
        "from runwright.cli.main import main\nsys.exit(main(['train']))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors


# --- multirun -----------------------------------------------------------------------------------------


def test_a_multirun_goes_on_after_failures_and_ranks_the_rest(stand_in: Path) -> None:
    arguments = ["train", "-m", "seed=2,13,9,4", "name=sweep"]
    process = runwright(*arguments, folder=stand_in, PYTHONPATH=str(stand_in / "site"))
    assert process.returncode == 1
    (sweep,) = (stand_in / "outputs" / "sweeps").iterdir()
    jobs = read_jobs(sweep)
    # Best first by the validation loss 1/seed, then those that failed: exit code 7 and signal 9.
    assert [job.overrides[0] for job in jobs] == ["seed=4", "seed=2", "seed=13", "seed=9"]
    assert [job.exit_code for job in jobs] == [0, 0, 7, -9]
    assert process.stdout.index("seed=4", process.stdout.index("4 jobs")) > 0
    assert len(list((stand_in / "outputs" / "sweep").iterdir())) == 4
    assert f"outputs/sweeps/{sweep.name}/report.html" in process.stdout
    assert (sweep / "report.html").is_file()
    best = (jobs[0].folder or Path()).relative_to(stand_in)
    assert f" next        runwright evaluate {best}\n" in process.stdout
    pids = [json.loads(file.read_text())["pid"] for file in stand_in.rglob("summary.json")]
    assert len(set(pids)) == 2  # each job was a process of its own


def test_a_multirun_works_with_another_launcher(stand_in: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = runwright(
        "train", "-m", "seed=1,2", *launcher, folder=stand_in, PYTHONPATH=str(stand_in / "site")
    )
    assert process.returncode == 0, process.stderr
    outputs = [path.read_text().splitlines() for path in sorted(stand_in.rglob("output.txt"))]
    assert [lines[-1] for lines in outputs] == ["ran seed 1", "ran seed 2"]


def test_axes_and_launcher_may_come_from_a_file_and_permissions_only_from_the_command_line(
    stand_in: Path,
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    file = stand_in / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults: [override /hydra/launcher: joblib]\nname: mine\n"
        "hydra: {mode: MULTIRUN, launcher: {n_jobs: 2}, sweeper: {params: {seed: '1,2'}}}\n"
    )
    arguments = ["train", "-m", "experiment=mine", "--trust-remote-code"]
    process = runwright(*arguments, folder=stand_in, PYTHONPATH=str(stand_in / "site"))
    assert process.returncode == 0, process.stderr
    assert len(list(stand_in.rglob("output.txt"))) == 2  # the basic launcher writes to the terminal
    runs = [json.loads(run.read_text()) for run in stand_in.glob("outputs/mine/*/run.json")]
    assert [run["permissions"] for run in runs] == [
        {"packages": [], "trust_remote_code": True, "changed_data": False, "shadow": False}
    ] * 2
    assert sorted(run["overrides"][0] for run in runs) == ["seed=1", "seed=2"]


def test_a_wrong_value_stops_a_multirun_before_its_first_job(stand_in: Path) -> None:
    arguments = ["train", "-m", "seed=1,2", "optimizer.lr=1e-3,abc", "model=pretrained,bert"]
    process = runwright(*arguments, folder=stand_in, PYTHONPATH=str(stand_in / "site"))
    assert process.returncode == 2
    lines = process.stderr.splitlines()
    assert len(lines) == 2
    assert any(line.startswith("optimizer.lr: given 'abc'") for line in lines)
    assert any(line.startswith("model=bert:") for line in lines)
    assert sorted(path.name for path in stand_in.iterdir()) == ["site"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("hydra/launcher=joblb", "expected one of basic"),
        ("hydra.sweep.dirr=x", "expected hydra.job.name, hydra.mode, hydra.sweep.dir"),
        ("optimizer.lr=interval(0,1)", "given an interval"),
    ],
)
def test_wrong_settings_of_hydra_are_mistakes_too(wrong: str, message: str, tmp_path: Path) -> None:
    process = runwright("train", "-m", "seed=1,2", wrong, folder=tmp_path)
    assert process.returncode == 2
    assert process.stderr.startswith(f"{wrong}: given")
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_the_users_own_folder_serves_a_multirun_too(stand_in: Path) -> None:
    file = stand_in / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nname: mine\nseed: 5\n")
    environment = {"PYTHONPATH": str(stand_in / "site")}
    process = runwright(
        "train", "-m", "experiment=mine", "optimizer.lr=1e-3,1e-4", folder=stand_in, **environment
    )
    assert process.returncode == 0, process.stderr
    assert len(list((stand_in / "outputs" / "mine").iterdir())) == 2


def test_two_sweeps_started_in_one_second_have_two_folders(stand_in: Path) -> None:
    command = [sys.executable, "-m", "runwright", "train", "-m", "seed=1,2"]
    environment = {**os.environ, "PYTHONPATH": str(stand_in / "site")}
    started = time.monotonic()
    processes = [
        subprocess.Popen(command, cwd=stand_in, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert time.monotonic() - started < 60
    assert len(list((stand_in / "outputs" / "sweeps").iterdir())) == 2
    assert len(list((stand_in / "outputs" / "default").iterdir())) == 4


@pytest.mark.parametrize(
    ("command", "says"),
    [(["runs"], "no runs in outptus yet"), (["sync", "--all"], "no tracked runs in outptus")],
)
def test_a_folder_without_runs_is_named(
    command: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--output-dir", "outptus"]) == 0
    assert says in capsys.readouterr().out
