"""`runwright verify`: whether the promises hold for a user's own experiment, on a short version of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from runwright import build
from runwright.analysis.verify.findings import Finding, findings_table
from runwright.analysis.verify.group import MEASURED, measure
from runwright.analysis.verify.resume import check_resume, shorten
from runwright.config.compose import compose_checked
from runwright.store import cache_root
from runwright.trainer.environment import share_of_cores

CHECKS = (*MEASURED, "resume")
CONCLUSIONS = {  # of a check in which nothing failed, and of one in which something did
    "parity": (
        "{task} with {model} is split-invariant: how a batch is cut and shared out does not change an update",
        "{task} with {model} is NOT split-invariant",
    ),
    "evaluation": (
        "each example counts once, however an evaluation is cut and shared out",
        "figures depend on how an evaluation is cut or shared out",
    ),
    "resume": ("a run that is killed and resumed is the same run", "a resumed run is another run"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How much is verified."""

    checks: Sequence[str]
    num_steps: int
    num_kills: int
    num_rows: int
    num_processes: int | None  # None: as many as the run has, at least two
    seed: int
    keep: bool  # the folder, even where everything holds


def verify(overrides: Sequence[str], options: Options, *, allow_shadow: bool = False) -> list[Finding]:
    """Verify an experiment, print what was found, and give it.

    Raises ConfigError or DataError where the experiment cannot even begin.
    """
    say = partial(Console(stderr=True, highlight=False).print, style="dim")
    config = compose_checked(overrides, allow_shadow=allow_shadow).config
    say("reading the data")
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    sizes = {split: len(examples) for split, examples in prepared.examples.items()}
    folder = Path(tempfile.mkdtemp(prefix="runwright-verify-"))
    findings: list[Finding] = []
    try:
        findings += _look(config, options, folder, sizes, say)
    finally:
        kept = options.keep or not findings or any(finding.verdict == "fails" for finding in findings)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    _show(findings, names={"task": _name(config["task"]), "model": _name(config["model"])})
    if kept:
        print(f"everything that was run is in {folder}")
    return findings


def _look(
    config: Mapping[str, Any],
    options: Options,
    folder: Path,
    sizes: Mapping[str, int],
    say: Callable[[str], None],
) -> Iterator[Finding]:
    if measured := [check for check in MEASURED if check in options.checks]:
        wanted = options.num_processes or max(2, config["launch"]["num_processes"])
        num_processes = _possible(wanted, config["trainer"]["device"])
        say(f"{' and '.join(measured)}: in {num_processes} processes")
        if num_processes < wanted:
            yield Finding(
                check=measured[0],
                what=f"{wanted} processes",
                found=f"there are {torch.cuda.device_count()} GPUs; trainer.device=cpu has no such limit",
                allowed="",
                verdict="not checked",
            )
        yield from measure(
            folder / "measured",
            config,
            checks=measured,
            num_rows=options.num_rows,
            num_processes=num_processes,
            num_threads=config["trainer"]["num_threads"] or share_of_cores(num_processes),
        )
    if "resume" in options.checks:
        short = shorten(
            config,
            num_steps=options.num_steps,
            num_rows=options.num_rows,
            split_sizes=sizes,
            output_dir=folder / "outputs",
        )
        yield from check_resume(short, num_kills=options.num_kills, seed=options.seed, say=say)


def _possible(wanted: int, device: str) -> int:
    """So many processes, or one where there is no GPU for each."""
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    return wanted if on_cpu or torch.cuda.device_count() >= wanted else 1


def _show(findings: Sequence[Finding], *, names: Mapping[str, str]) -> None:
    console = Console(highlight=False)
    console.print()
    console.print(findings_table(findings))
    console.print()
    for check in dict.fromkeys(finding.check for finding in findings):
        failed = any(finding.verdict == "fails" for finding in findings if finding.check == check)
        looked = any(finding.verdict in ("holds", "fails") for finding in findings if finding.check == check)
        if looked:
            text = CONCLUSIONS[check][failed].format(**names)
            console.print(f"{check}: {text}", style="bold red" if failed else "bold green", soft_wrap=True)
    for advice in dict.fromkeys(finding.advice for finding in findings if finding.advice):
        console.print(advice, markup=False, soft_wrap=True)


def _name(node: Mapping[str, Any]) -> str:
    """What a configuration calls a task or a model."""
    return node.get("name") or node["_target_"].removeprefix("runwright.").removeprefix("task.")
