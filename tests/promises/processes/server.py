"""Starts real groups of processes quickly: imports everything once, then forks.

A process that only imported torch may be forked; one that computed with it may not. Reads one job a line
from standard input, {"job", "program", "num_processes", "folder", "arguments"}, and answers twice, with
{"job", "pids"} and {"job", "codes"}. A program is a function of programs.py or of
sharded.py, called in every process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

# Everything that a run imports, so that a fork begins at once.
import accelerate.state
import peft
import torch.distributed
import transformers.models.bert.modeling_bert
import transformers.models.distilbert.modeling_distilbert
import transformers.models.roberta.modeling_roberta
import transformers.optimization

import runwright.runs.execute
from runwright.launch.worker import LOOPBACK

PRELOADED = (accelerate, peft, torch, transformers, runwright)


def load_programs() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("programs", "sharded"):
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        found |= vars(module)
    return found


def answer(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def start(job: dict[str, Any], programs: dict[str, Any]) -> dict[int, int | None]:
    """Fork the processes of a job; the parent gets their numbers."""
    store = socket.create_server((LOOPBACK, 0), backlog=16)
    pids = [fork(rank, store, job, programs) for rank in range(job["num_processes"])]
    store.close()
    answer(job=job["job"], pids=pids)
    return dict.fromkeys(pids)


def fork(rank: int, store: socket.socket, job: dict[str, Any], programs: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        folder = Path(job["folder"])
        output = os.open(folder / f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.setpgid(0, 0)
        if job["num_processes"] > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": LOOPBACK}
            os.environ |= {
                "WORLD_SIZE": str(job["num_processes"]),
                "MASTER_PORT": str(store.getsockname()[1]),
            }
            if rank == 0:
                os.environ["RUNWRIGHT_STORE_FD"] = str(os.dup(store.fileno()))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = programs[job["program"]](folder, **job["arguments"]) or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - shown by the test
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    programs = load_programs()
    running: dict[int, dict[int, int | None]] = {}
    rest = b""
    while True:
        if select.select([sys.stdin], [], [], 0.01)[0]:
            read = os.read(sys.stdin.fileno(), 65536)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for job in map(json.loads, lines):
                running[job["job"]] = start(job, programs)
        for number, codes in list(running.items()):
            for pid in [pid for pid, code in codes.items() if code is None]:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            if None not in codes.values():
                answer(job=number, codes=list(codes.values()))
                del running[number]


if __name__ == "__main__":
    main()
