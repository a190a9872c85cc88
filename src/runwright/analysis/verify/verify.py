"""`runwright verify`: check the promises for a user's own experiment, on a short version of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column
from rich.text import Text

from runwright import build
from runwright.analysis.verify.group import MEASURED, measure
from runwright.analysis.verify.parity import Finding, Verdict
from runwright.analysis.verify.resume import check_resume, shorten
from runwright.config.compose import compose_checked
from runwright.report.terminal import plain_table
from runwright.store import cache_root
from runwright.trainer.environment import share_of_cores

STYLES: dict[Verdict, str] = {"holds": "green", "fails": "bold red", "reported": "", "not checked": "yellow"}
CONCLUSIONS = {  # of a check in which nothing failed, and of one in which something did
    "parity": (
        "{task} with {model} is split-invariant: how a batch is cut and shared out does not change an update",
        "{task} with {model} is NOT split-invariant",
    ),
    "evaluation": (
        "each example counts once, however an evaluation is cut and shared out",
        "metrics depend on how an evaluation is cut or shared out",
    ),
    "resume": ("a run that is killed and resumed is the same run", "a resumed run is another run"),
}


def verify(
    overrides: Sequence[str],
    *,
    checks: Sequence[str],
    num_steps: int,
    num_kills: int,
    num_rows: int,
    num_processes: int | None,  # None: as many as the run has, at least two
    seed: int,
    keep: bool,  # the folder, even where everything holds
    allow_shadow: bool = False,
) -> list[Finding]:
    """Verify an experiment, print the findings, and return them.

    Raises ConfigError or DataError where the experiment cannot even begin.
    """
    say = partial(Console(stderr=True, highlight=False).print, style="dim")
    config = compose_checked(overrides, allow_shadow=allow_shadow).config
    say("reading the data")
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    folder = Path(tempfile.mkdtemp(prefix="runwright-verify-"))
    findings: list[Finding] = []
    try:
        if measured := [check for check in MEASURED if check in checks]:
            findings += _measure(
                config, folder / "measured", measured, say, num_rows=num_rows, num_processes=num_processes
            )
        if "resume" in checks:
            short = shorten(
                config,
                num_steps=num_steps,
                num_rows=num_rows,
                split_sizes={split: len(examples) for split, examples in prepared.examples.items()},
                output_dir=folder / "outputs",
            )
            findings += check_resume(short, num_kills=num_kills, seed=seed, say=say)
    finally:
        keep = keep or not findings or any(finding.verdict == "fails" for finding in findings)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print(findings, names={"task": _name(config["task"]), "model": _name(config["model"])})
    if keep:
        print(f"everything that was run is in {folder}")
    return findings


def _measure(
    config: Mapping[str, Any],
    folder: Path,
    checks: Sequence[str],
    say: Callable[[str], None],
    *,
    num_rows: int,
    num_processes: int | None,
) -> Iterator[Finding]:
    wanted = num_processes = num_processes or max(2, config["launch"]["num_processes"])
    num_gpus = torch.cuda.device_count() if config["trainer"]["device"] != "cpu" else 0
    if 0 < num_gpus < wanted:
        num_processes = 1
        text = f"there are {num_gpus} GPUs; trainer.device=cpu has no such limit"
        yield Finding(checks[0], f"{wanted} processes", text, allowed="", verdict="not checked")
    say(f"{' and '.join(checks)}: in {num_processes} processes")
    yield from measure(
        folder,
        config,
        checks=checks,
        num_rows=num_rows,
        num_processes=num_processes,
        num_threads=config["trainer"]["num_threads"] or share_of_cores(num_processes),
    )


def _print(findings: Sequence[Finding], *, names: Mapping[str, str]) -> None:
    """Print one row for each finding, a conclusion for each check, and the advice."""
    console = Console(highlight=False)
    columns = [Column(name, overflow="fold") for name in ("check", "what", "difference", "allowed", "")]
    table = plain_table(*columns)
    checks: dict[str, list[Verdict]] = {}
    for check, what, difference, allowed, verdict, _ in findings:
        name = Text("" if check in checks else check, style="bold")
        checks.setdefault(check, []).append(verdict)
        table.add_row(name, *map(Text, (what, difference, allowed)), Text(verdict, style=STYLES[verdict]))
    console.print()
    console.print(table)
    console.print()
    for check, verdicts in checks.items():
        failed = "fails" in verdicts
        if failed or "holds" in verdicts:
            text = CONCLUSIONS[check][failed].format(**names)
            console.print(f"{check}: {text}", style="bold red" if failed else "bold green", soft_wrap=True)
    for advice in dict.fromkeys(finding.advice for finding in findings if finding.advice):
        console.print(advice, markup=False, soft_wrap=True)


def _name(node: Mapping[str, Any]) -> str:
    """The name of a task or a model in a configuration."""
    return node.get("name") or node["_target_"].removeprefix("runwright.").removeprefix("task.")
