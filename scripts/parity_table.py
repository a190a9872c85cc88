"""Prints how loss and gradient of one step depend on the split, ours and transformers' Trainer's.

    python scripts/parity_table.py

One batch of 8 examples on tiny models without dropout, cut into microbatches and spread over real processes
(gloo). Deviations are from the same code's unsplit batch: of the loss relative to it, of the gradient
relative to its norm; ours are the largest of four ways to share the microbatches out. Up to 1e-10 in float64
and 1e-5 in float32 is rounding. The table is Markdown.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PrinterCallback, Trainer, TrainingArguments

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ((1, 1), (4, 1), (8, 1), (4, 2), (3, 2), (2, 4), (4, 4))  # microbatches, processes
PROBLEMS = (("single_label", "bert"), ("pair", "bert"), ("multi_label", "bert"), ("regression", "bert"),
            ("single_label", "roberta"), ("single_label", "distilbert"), ("coupled", "bert"))  # fmt: skip
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
NOT_THEIRS = {"coupled"}  # a loss over the whole batch: the Trainer has no place for one
BATCH = 8


def load_programs() -> Any:
    """The tiny tasks and models of the tests."""
    path = ROOT / "tests" / "promises" / "processes" / "programs.py"
    spec = importlib.util.spec_from_file_location("programs", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["programs"] = module
    spec.loader.exec_module(module)
    return module


def in_processes(count: int, function: Callable[[], None]) -> None:
    """Run a function in a group of forked processes; nothing may have been computed before."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pids = []
    for rank in range(count):
        pid = os.fork()
        if pid == 0:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            if count > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - a child must not go on as the parent
                print(f"rank {rank}: {type(error).__name__}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit("a process failed")


def ours(programs: Any, folder: Path) -> None:
    """Loss and gradient of our step for every problem that this number of processes takes part in."""
    ranks = programs.join()
    found = {}
    for (problem, architecture), (precision, dtype), split in product(PROBLEMS, PRECISIONS.items(), SPLITS):
        if split[1] == ranks.num_ranks:
            for assignment in programs.ASSIGNMENTS[: 1 if ranks.num_ranks == 1 else None]:
                name = name_of(problem, architecture, precision, split)
                arguments = (problem, architecture, dtype, split[0], assignment, ranks)
                found[f"{name}/{assignment}"] = programs.one_step(*arguments)
    if ranks.is_first:
        np.savez(folder / f"ours-{ranks.num_ranks}.npz", **found)


def theirs(programs: Any, folder: Path) -> None:
    """The same by transformers' Trainer, where the split is one that it can make."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    found = {}
    for (problem, architecture), (precision, dtype), split in product(PROBLEMS, PRECISIONS.items(), SPLITS):
        microbatches, wanted = split
        possible = microbatches % processes == 0 and BATCH % microbatches == 0 and problem not in NOT_THEIRS
        if wanted == processes and possible:
            name = name_of(problem, architecture, precision, split)
            found[f"{name}/as it does"] = trainer_step(
                programs, problem, architecture, dtype, microbatches, processes
            )
    if int(os.environ.get("RANK", "0")) == 0:
        np.savez(folder / f"theirs-{processes}.npz", **found)


def name_of(problem: str, architecture: str, precision: str, split: tuple[int, int]) -> str:
    """The key of what was measured."""
    return f"{problem}/{architecture}/{precision}/{split[0]}/{split[1]}"


def trainer_step(
    programs: Any, problem: str, architecture: str, dtype: torch.dtype, microbatches: int, processes: int
) -> np.ndarray:
    """Logged loss, then the gradient when the optimizer steps."""
    task = programs.make_task(problem)
    model = programs.make_model(task, architecture, dropout=0.0).to(dtype)
    model.config.problem_type = task.head.problem_type
    gradients: list[torch.Tensor] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(
        lambda *_: gradients.append(
            torch.cat(
                [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()]
            )
        )
    )
    with tempfile.TemporaryDirectory() as output:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output, use_cpu=True, max_steps=1, report_to=[], save_strategy="no",
                per_device_train_batch_size=BATCH // microbatches, disable_tqdm=True, max_grad_norm=0.0,
                logging_steps=1,
                gradient_accumulation_steps=microbatches // processes, remove_unused_columns=False,
            ),
            train_dataset=programs.make_examples(task, BATCH).items,
            data_collator=lambda items: {k: v for k, v in task.collate(items).items() if k in INPUTS},
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    loss = next(record["loss"] for record in trainer.state.log_history if "loss" in record)
    return np.concatenate([[float(loss)], gradients[0].double().numpy()])


INPUTS = ("input_ids", "attention_mask", "token_type_ids", "labels")


def deviations(found: dict[str, np.ndarray], name: str) -> tuple[str, str, str]:
    """Of the loss and of the gradient from the unsplit ones, and the ratio of the norms: the largest."""
    splits = [array for key, array in found.items() if key.startswith(f"{name}/")]
    if not splits:
        return "–", "–", "–"
    whole = next(array for key, array in found.items() if key.startswith(f"{name.rsplit('/', 2)[0]}/1/1/"))
    norm = np.linalg.norm(whole[1:])
    loss = max(abs(split[0] - whole[0]) / abs(whole[0]) for split in splits)
    gradient = max(float(np.linalg.norm(split[1:] - whole[1:]) / norm) for split in splits)
    ratio = max((np.linalg.norm(split[1:]) / norm for split in splits), key=lambda ratio: abs(ratio - 1))
    return text_of(loss), text_of(gradient), f"{ratio:.2f}"


def text_of(deviation: float) -> str:
    """One digit; nothing at all is shown as 0."""
    return f"{deviation:.0e}" if deviation else "0"


def main() -> None:
    """Compute everything in forked processes, then print."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    programs = load_programs()
    found: dict[str, dict[str, np.ndarray]] = {"ours": {}, "theirs": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (1, 2, 4):
            in_processes(count, lambda: ours(programs, folder))
            in_processes(count, lambda: theirs(programs, folder))
            for side, arrays in found.items():
                with np.load(folder / f"{side}-{count}.npz") as archive:
                    arrays |= dict(archive)
    print_table(found)


def print_table(found: dict[str, dict[str, np.ndarray]]) -> None:
    """Ours and theirs, side by side."""
    headings = ["task, architecture", "microbatches", "processes"]
    for side in ("Runwright", "Trainer"):
        for precision in PRECISIONS:
            headings += [f"{side} {precision}: loss", "gradient"]
        headings += ["norm of the gradient"] if side == "Trainer" else []
    print(f"| {' | '.join(headings)} |\n|---{'|---:' * (len(headings) - 1)}|")
    for (problem, architecture), split in product(PROBLEMS, SPLITS):
        cells = [f"{problem}, {architecture}", str(split[0]), str(split[1])]
        for side, arrays in found.items():
            sides = [deviations(arrays, name_of(problem, architecture, each, split)) for each in PRECISIONS]
            cells += [cell for loss, gradient, _ in sides for cell in (loss, gradient)]
            cells += [f"× {sides[0][2]}" if sides[0][2] != "–" else "–"] if side == "theirs" else []
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
