"""Whether loss and gradient of a batch depend on how it is cut and on how many processes share it."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import torch

from runwright import build
from runwright.analysis.verify.findings import Finding, judge
from runwright.analysis.verify.gradients import (
    Gradient,
    batch_statistics,
    compare_gradients,
    first_examples,
    measure_gradient,
    num_examples,
    switch_off_dropout,
)
from runwright.analysis.verify.subject import Subject
from runwright.trainer.batches import Cut
from runwright.trainer.ranks import Ranks

CHECK = "parity"
# What is promised, relative to the norm of the whole gradient; the more exact first.
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
# Where sums nearly cancel, rounding weighs more than a fixed limit can know: a cut may then differ by so many
# times what the uncut batch itself differs from the more exact precision.
ROUNDING = 4
CUTS = (4, 1)  # examples of a microbatch
SHARED = Cut(microbatch_size=4)  # as many microbatches as processes, or more
DEPENDS = (
    "The loss or the gradient depends on how a batch is cut: {reason}. Until that is mended, results depend "
    "on trainer.microbatch_size and launch.num_processes: keep both as they are."
)
PROCESSES = (
    "One process and several do not compute the same: does the model or the task keep something of earlier "
    "batches, or draw random numbers that torch's seed does not decide?"
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model at one precision."""

    subject: Subject
    model: torch.nn.Module
    limit: float
    name: str

    def alone(self, cut: Cut, *, seed: int = 0) -> Gradient | None:
        """In one process, which is the first; None on the others."""
        subject = self.subject
        if not subject.ranks.is_first:
            return None
        return measure_gradient(subject, self.model, cut=cut, ranks=subject.alone, dropout_seed=seed)

    def try_alone(self, cut: Cut) -> tuple[Gradient | None, str]:
        """The same; where the model or the task refuses, why."""
        try:
            return self.alone(cut), ""
        except (RuntimeError, TypeError, ValueError) as error:  # kernels that know no float64, for example
            return None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"

    def together(self, cut: Cut) -> Gradient:
        """In all processes."""
        return measure_gradient(self.subject, self.model, cut=cut, ranks=self.subject.ranks)


def check_parity(subject: Subject) -> Iterator[Finding]:
    """Every cut against the whole batch, and all processes against one; findings on the first process."""
    exact = None
    for dtype, limit in LIMITS.items():
        model = build.build_model(subject.config, subject.prepared, device=subject.ranks.device).to(dtype)
        name = str(dtype).removeprefix("torch.")
        exact = yield from _check(
            Measurement(subject=subject, model=model, limit=limit, name=name), exact=exact
        )


def _check(this: Measurement, *, exact: Gradient | None) -> Generator[Finding, None, Gradient | None]:
    """Findings at one precision; returns the gradient of the uncut batch. `exact` is that of a finer one."""
    reference, problem = this.try_alone(SHARED)
    if max(this.subject.ranks.per_rank(float(bool(problem)))):
        yield _not_checked(this, problem or "a process failed")
        return None
    several = this.subject.ranks.num_ranks > 1
    shared = this.together(SHARED) if several else None
    switch_off_dropout(this.model)
    plain, again = this.alone(SHARED), this.alone(SHARED, seed=1)
    chance = compare_gradients(plain, again)[0] if plain and again else 0.0
    can_compare = max(this.subject.ranks.per_rank(chance)) <= this.limit
    whole = this.alone(Cut()) if can_compare else None
    if exact and whole:
        this = replace(this, limit=max(this.limit, ROUNDING * compare_gradients(exact, whole)[0]))
    if several:
        yield from _compare(this, reference, shared, _on(this.subject.ranks, "with dropout"))
    if not can_compare:
        yield _not_checked(this, "the model draws random numbers although dropout is off")
        return None
    for size in CUTS:
        found, problem = this.try_alone(Cut(microbatch_size=size))
        yield from _compare(this, whole, found, f"cut by {size}", problem)
    if several:
        yield from _compare(this, whole, this.together(SHARED), _on(this.subject.ranks, "cut by 4"))
    return whole


def _compare(
    this: Measurement, expected: Gradient | None, found: Gradient | None, what: str, problem: str = ""
) -> Iterator[Finding]:
    if expected is None or (found is None and not problem):
        return  # another process than the first
    difference, where = compare_gradients(expected, found) if found else (math.inf, problem)
    count = num_examples(this.subject)
    what = f"{this.name}, {count} examples {what}"
    advice = ""
    if not difference <= this.limit:
        advice = PROCESSES if "dropout" in what else DEPENDS.format(reason=_diagnose(this))
    yield judge(CHECK, what, difference, limit=this.limit, where=where, advice=advice)


def _on(ranks: Ranks, what: str) -> str:
    return f"{what} on {ranks.num_ranks} processes"


def _not_checked(this: Measurement, reason: str) -> Finding:
    return Finding(
        check=CHECK, what=this.name, found=reason, allowed=f"{this.limit:.0e}", verdict="not checked"
    )


@torch.no_grad()
def _diagnose(this: Measurement) -> str:
    """What it may be: statistics over the batch while training, or padding and the loss itself."""
    statistics = batch_statistics(this.model)
    if statistics:
        return f"the model has statistics over the batch ({', '.join(statistics[:3])})"
    task, model = this.subject.prepared.task, this.model
    if task.coupled_loss is not None:
        return "the outputs of an example depend on the others in its microbatch, or on padding"
    model.eval()
    examples = first_examples(this.subject)
    totals = []
    for parts in ([examples], [[example] for example in examples]):
        batches = [
            {k: v.to(this.subject.ranks.device) for k, v in task.collate(part).items()} for part in parts
        ]
        losses = [task.loss(task.forward(model, batch), batch) for batch in batches]
        totals.append(math.fsum(float(loss.total) for loss in losses))
    if abs(totals[0] - totals[1]) <= this.limit * abs(totals[0]):
        return "only while training; look for what the model does with the examples of a batch together"
    return "padding that is not masked, or a loss that is not a sum over the examples of a microbatch"
