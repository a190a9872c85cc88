"""The scripts of docs/clusters.md: SLURM, two nodes, no network, S3, a login, Ray."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "clusters.md"
MINE = """# @package _global_
defaults:
  - override /dataset: csv
  - override /model: scratch
  - override /tokenizer: train/word
  - override /tracker: console
  - override /metric: [accuracy]

name: mine
dataset: {source: {files: {train: reviews.csv}}, holdout: {validation: 0.2}}
task: {text_column: review, label_column: mood}
model: {config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}}
trainer: {device: cpu, num_threads: 1, log_every_steps: 1}
"""
SLURM = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=all Nodes=ALL Default=YES
"""


def block(heading: str, number: int = 0) -> str:
    """A script of the page, by its section."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [text for text in section if text.startswith(f"{heading}\n")]
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Project:
    """A folder with the experiment `mine` and the command `runwright`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "bin"), os.environ.get("PYTHONPATH")])),
            "RUNWRIGHT_CACHE": str(folder / "cache"),
            "USER": "tester",
            "SLURM_TMPDIR": str(folder / "node"),
        }
        draw, words = random.Random(1), ["good", "bad", "fine", "dull", "film", "plot", "the", "a"]
        texts = [" ".join(draw.choices(words, k=draw.randint(1, 20))) for _ in range(400)]
        lines = "".join(f"{text},{'np'['good' in text]}\n" for text in texts)
        (folder / "reviews.csv").write_text(f"review,mood\n{lines}")
        for name, text in (("conf/experiment/mine.yaml", MINE), ("bin/runwright", self._program())):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(text)
        (folder / "bin" / "runwright").chmod(0o755)

    def _program(self) -> str:
        code = "import sys; from runwright.cli.main import main; sys.exit(main())"
        return f'#!/bin/sh\nexec {sys.executable} -P -c "{code}" "$@"\n'

    def bash(self, text: str, *before: str, **variables: str) -> subprocess.Popen[str]:
        text = text.replace("torchrun ", f"{sys.executable} -m torch.distributed.run ")
        return subprocess.Popen(
            [*before, "bash", "-c", text],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text: str, *before: str, **variables: str) -> str:
        """The output of a script that succeeds."""
        process = self.bash(text, *before, **variables)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def runs(self, name: str) -> list[dict[str, Any]]:
        """`run.json` of each run, with its folder."""
        files = sorted(self.folder.glob(f"outputs/{name}/*/run.json"))
        return [{**json.loads(file.read_text()), "folder": file.parent} for file in files]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def wait(condition: Callable[[], Any], what: Callable[[], object], *, seconds: float = 240) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, what()
        time.sleep(0.2)
    return value


# --- SLURM ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment of a SLURM of one node, which is this machine."""
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip("no SLURM that could be started; on Debian, as root: apt-get install slurm-wlm munge")
    folder = Path(tempfile.mkdtemp(prefix="runwright-slurm-", dir="/tmp"))
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    (folder / "munge").chmod(0o711)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    ports, host = [free_port(), free_port()], socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(SLURM.format(folder=folder, host=host, ports=ports))
    variables = {"SLURM_CONF": str(folder / "slurm.conf")}
    places = [f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge/socket", *places],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    processes = []
    try:
        with (folder / "log").open("w") as log:
            for command in commands:
                environment = os.environ | variables
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
                time.sleep(0.5)

        def is_idle() -> bool:
            shown = subprocess.run(
                ["sinfo", "-h", "-o", "%t"], env=os.environ | variables, capture_output=True, check=False
            )
            return shown.stdout.strip() == b"idle"

        wait(is_idle, (folder / "log").read_text, seconds=30)
        yield variables
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def submit(project: Project, script: str) -> str:
    """The number of a job of this script."""
    (project.folder / "job.sbatch").write_text(script)
    return project.run("sbatch --parsable job.sbatch").strip()


def end_of(project: Project, job: str) -> str:
    """The state of a job that has ended; of one that is requeued the later one."""

    def state() -> str:
        shown = project.run(f"scontrol show job {job} -o")
        found = re.search(r"JobState=(\w+)", shown)
        assert found is not None
        return found[1] if found[1] not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") else ""

    return wait(state, lambda: logs(project))


def logs(project: Project) -> str:
    return "\n".join(file.read_text() for file in project.folder.glob("*.log"))


def steps_of(folder: Path) -> list[int]:
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return [line["s"] for line in lines if "train/loss" in line.get("m", {})]


def test_a_job_that_reaches_its_limit_is_requeued_and_goes_on(
    project: Project, slurm: dict[str, str]
) -> None:
    project.environment |= slurm
    longer = "experiment=mine trainer.max_epochs=null trainer.max_steps=500"
    script = block("One run, longer than its time limit").replace("experiment=mine", longer)
    job = submit(project, script)

    def has_begun() -> bool:
        return any(
            len(steps_of(file.parent)) > 20 for file in project.folder.glob("outputs/mine/*/journal.jsonl")
        )

    wait(has_begun, lambda: logs(project))
    project.run(f"scancel --signal=USR1 {job}")
    assert end_of(project, job) == "COMPLETED", logs(project)
    (run,) = project.runs("mine")
    assert run["status"] == "FINISHED", logs(project)
    assert steps_of(run["folder"]) == list(range(1, 501))
    assert len((run["folder"] / "resumes.jsonl").read_text().splitlines()) == 1
    assert "SIGUSR1 after step" in logs(project)
    assert list((project.folder / "node" / "runwright-tester").iterdir())  # the cache on the node
    assert not (project.folder / "cache").exists()


def test_tasks_of_a_step_share_a_run_and_a_prediction(project: Project, slurm: dict[str, str]) -> None:
    project.environment |= slurm
    job = submit(project, block("Several processes"))
    assert end_of(project, job) == "COMPLETED", logs(project)
    (run,) = project.runs("shared")
    assert json.loads((run["folder"] / "provenance.json").read_text())["num_processes"] == 2
    job = submit(project, block("Several processes", 2).replace("latest:mine", "latest:shared"))
    assert end_of(project, job) == "COMPLETED", logs(project)
    rows = [json.loads(line) for line in (project.folder / "scored.jsonl").read_text().splitlines()]
    expected = [
        line.partition(",")[0] for line in (project.folder / "reviews.csv").read_text().splitlines()[1:]
    ]
    assert [row["review"] for row in rows] == expected


def test_trials_are_jobs_by_submitit(project: Project, slurm: dict[str, str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    project.environment |= slurm
    shown = project.run(block("Sweeps"))
    assert [run["status"] for run in project.runs("mine")] == ["FINISHED"] * 2, shown
    overrides = [text for run in project.runs("mine") for text in run["overrides"] if "lr" in text]
    assert {float(text.partition("=")[2]) for text in overrides} == {1e-3, 1e-4}


# --- without SLURM ----------------------------------------------------------------------------------------


def test_two_nodes_by_torchrun_are_one_run(project: Project) -> None:
    script, port = block("Several processes", 1), str(free_port())
    nodes = [project.bash(script, NODE=node, HOST="127.0.0.1", PORT=port) for node in ("0", "1")]
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    project.run("runwright train experiment=mine name=one")
    (several,), (one,) = project.runs("nodes"), project.runs("one")
    losses = [
        json.loads((run["folder"] / "summary.json").read_text())["training_loss"] for run in (several, one)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Starts a real `mlflow server` at a port."""
    processes = []

    def start(port: int) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
        with (tmp_path / "server.txt").open("w") as log:
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nine processes less
            )  # fmt: skip
        processes.append(process)

        def answers() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            except OSError:
                return False
            finally:
                connection.close()

        wait(answers, (tmp_path / "server.txt").read_text)

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def losses_in(uri: str, **variables: str) -> int:
    """Training losses in a server, asked by MLflow's client in a process of its own."""
    code = (
        "import sys; from mlflow import MlflowClient; client = MlflowClient(sys.argv[1])\n"
        "(run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])\n"
        "print(len(client.get_metric_history(run.info.run_id, 'train/loss')))"
    )
    command = [sys.executable, "-c", code, uri]
    return int(subprocess.run(command, env=os.environ | variables, capture_output=True, check=True).stdout)


def test_a_node_without_a_network_trains_and_its_metrics_are_sent_later(
    project: Project, server: Callable[[int], None]
) -> None:
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("taking the network from a process needs root")
    assert "steps" in project.run(block("Compute nodes without a network"))
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    script = block("Compute nodes without a network", 1).replace(
        "experiment=mine", "experiment=mine tracker=mlflow"
    )
    shown = project.run(script, "unshare", "-n", SERVER=uri)
    assert "runwright sync" in shown
    (run,) = project.runs("offline")
    server(port)
    project.run(block("Compute nodes without a network", 2))
    assert losses_in(uri) == len(steps_of(run["folder"]))


def test_artifacts_go_to_s3(project: Project) -> None:
    boto3: Any = pytest.importorskip("boto3")
    moto: Any = pytest.importorskip("moto.server")
    stores = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    stores.start()
    try:
        host, port = stores.get_host_and_port()
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
        client.create_bucket(Bucket="runs")
        script = block("Artifacts in S3").replace("=mine", "=mine tracker=mlflow")
        project.run(script, KEY="key", SECRET="secret", ENDPOINT=f"http://{host}:{port}")
        names = {item["Key"] for item in client.list_objects_v2(Bucket="runs")["Contents"]}
    finally:
        stores.stop()
    assert all(name.startswith("artifacts/s3/") for name in names)
    assert {"model.safetensors", "summary.json", "config.yaml"} <= {name.rpartition("/")[2] for name in names}
    written = [file for file in project.folder.rglob("*") if file.is_file() and file.suffix != ".db"]
    assert not [file for file in written if b"AWS_SECRET" in file.read_bytes()]


def test_mlflow_behind_a_login(project: Project, server: Callable[[int], None]) -> None:
    behind = free_port()
    wanted = f"Basic {base64.b64encode(b'ann:hunter2').decode()}"

    class Login(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = 401, b'{"error_code": "UNAUTHENTICATED", "message": "no such login"}'
            if self.headers.get("Authorization") == wanted:
                headers = {name: text for name, text in self.headers.items() if name != "Authorization"}
                with closing(http.client.HTTPConnection("127.0.0.1", behind)) as connection:
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    status, content = response.status, response.read()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server(behind)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Login)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{proxy.server_address[1]}"
    script = block("MLflow behind a login").replace("=mine", "=mine tracker=mlflow")
    try:
        project.run(script, SERVER=uri, LOGIN="ann", PASSWORD="hunter2")
        (run,) = project.runs("login")
        login = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hunter2"}
        assert losses_in(uri, **login) == len(steps_of(run["folder"]))
        files = [file for file in run["folder"].rglob("*") if file.is_file()]
        assert not [file for file in files if b"hunter2" in file.read_bytes()]
        refused = project.bash(script, SERVER=uri, LOGIN="ann", PASSWORD="wrong")
        shown, _ = refused.communicate()
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert refused.returncode, shown
    assert "no such login" in shown
    assert "Traceback" not in shown


# --- engines ----------------------------------------------------------------------------------------------


def test_ray_data_predicts_as_the_pipeline_does(project: Project) -> None:
    pytest.importorskip("ray.data")
    project.run("runwright train experiment=mine")
    begin = "import ray; ray.init(num_cpus=2, include_dashboard=False)\n"
    (project.folder / "score.py").write_text(begin + block("Ray and Spark"))
    project.run(f"{sys.executable} score.py", HOME=str(project.folder))
    import pyarrow.parquet as pq

    import runwright

    table = pq.read_table(project.folder / "scored").to_pydict()
    os.chdir(project.folder)
    answers = runwright.pipeline("latest:mine")(table["review"])
    assert table["predicted"] == [answer["label"] for answer in answers]
    assert len(answers) == 400


def test_a_function_for_spark_s_tables(project: Project) -> None:
    import pandas as pd

    project.run("runwright train experiment=mine")
    os.chdir(project.folder)
    (project.folder / "spark.py").write_text(block("Ray and Spark", 1))
    score = runpy.run_path(str(project.folder / "spark.py"))["score"]
    batches = [*pd.read_csv("reviews.csv", chunksize=150)]
    scored = pd.concat(score(iter(batches)))
    assert list(scored.columns) == ["review", "mood", "predicted"]
    assert list(scored["review"]) == list(pd.concat(batches)["review"])
    assert set(scored["predicted"]) <= {"n", "p"}
