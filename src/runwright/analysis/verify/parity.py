"""Parity: loss and gradient of a batch do not depend on how it is cut and on how many processes share it."""

import copy
import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from runwright import build
from runwright.build import Prepared
from runwright.dataset.examples import PreparedExamples, record_batch
from runwright.predictions import Ragged, columns_of, evenly_spaced
from runwright.trainer.batches import Batches, Cut
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.ranks import Ranks
from runwright.trainer.sharding import copy_whole
from runwright.types import Examples

STREAM_ROWS = 200  # of a stream are looked at
BITS = "bit for bit"
Verdict = Literal["holds", "fails", "not checked"]
PARITY, EVALUATION = "parity", "evaluation"
# The promise, relative to the norm of the whole gradient; the more exact first.
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
# Where sums nearly cancel, rounding weighs more than a fixed limit can know: a cut may then differ by so many
# times the difference between the uncut batch and the more exact precision.
ROUNDING = 4
BATCH_SIZE = 16  # enough for cuts of 4 and 1 to be others than the whole; a large one might not fit uncut
NUM_ROWS = 64  # that are evaluated
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
PREDICTION_LIMIT = 1e-5  # between batches of other shapes, in float32; of metrics and of predictions
BATCHING = (
    "What is predicted for an example depends on the others in its batch: padding that is not masked, or "
    "statistics over the batch in eval mode. Until that is mended, keep trainer.evaluate_tokens as it is."
)
OTHER_PREDICTIONS = (
    "One process and several predict other numbers for the same batches: does the model keep something of "
    "earlier batches, or draw random numbers in eval mode?"
)
TEXTS = (
    "Texts depend on the batch that they are generated in. In float32 on a CPU that happens only where two "
    "tokens are within rounding, or where the architecture does not leave out the padding before a prompt. "
    "Generate one text at a time there: trainer.evaluate_tokens=1."
)
ONCE = "An example was lost or counted twice: are the example ids that task.encode gives distinct?"


class Finding(NamedTuple):
    """Result of one measurement or comparison."""

    check: str  # parity, evaluation or resume
    what: str
    difference: str  # a number, or in words
    allowed: str
    verdict: Verdict
    advice: str = ""  # where it does not hold


def judge(check: str, what: str, difference: str, allowed: str, *, holds: bool, advice: str) -> Finding:
    """A finding that holds, or fails with an advice."""
    return Finding(check, what, difference, allowed, "holds" if holds else "fails", "" if holds else advice)


def measure(check: str, what: str, difference: float, *, limit: float, where: str, advice: str) -> Finding:
    """Compare a difference with its limit; `where` names what has the largest one."""
    text, allowed = f"{difference:.1e}" if difference else "0", f"{limit:.0e}" if limit else BITS
    text += f" ({where})" if difference and where else ""
    return judge(check, what, text, allowed, holds=difference <= limit, advice=advice)  # fails for NaN


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A configuration with its data, and this process among those that measure it."""

    config: Mapping[str, Any]
    prepared: Prepared
    ranks: Ranks

    @property
    def alone(self) -> Ranks:
        """This process as if it were the only one."""
        return replace(self.ranks, rank=0, num_ranks=1, sharded=False)

    @property
    def train(self) -> Examples:
        """Training examples; of a stream those of its first rows."""
        if self.prepared.stream is None:
            return self.prepared.examples["train"]
        _, examples = self.prepared.stream.open(None).read(STREAM_ROWS, is_cancelled=lambda: False)
        assert examples is not None, "the first rows of the stream were fit for the task a moment ago"
        return examples


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradient:
    """Loss and gradient of one update."""

    loss: float = math.nan
    parameters: Mapping[str, torch.Tensor] = field(default_factory=dict)  # by name; of those that have one
    problem: str = ""  # the reason for which the model or the task refuses the batch


def check_parity(subject: Subject) -> Iterator[Finding]:
    """Every cut against the whole batch, and all processes against one; to be called on all of them."""
    exact = None
    for dtype, limit in LIMITS.items():
        model = build.build_model(subject.config, subject.prepared, device=subject.ranks.device).to(dtype)
        exact = yield from _check(subject, model, str(dtype).removeprefix("torch."), limit, exact=exact)


def _check(
    subject: Subject, model: torch.nn.Module, name: str, limit: float, *, exact: Gradient | None
) -> Generator[Finding, None, Gradient | None]:
    """Findings at one precision; returns the gradient of the uncut batch. `exact` is that of a finer one."""
    ranks, several = subject.ranks, subject.ranks.num_ranks > 1
    alone = partial(measure_alone, subject, model)

    def compare(expected: Gradient, gradient: Gradient, what: str) -> Finding:
        difference, where = compare_gradients(expected, gradient)
        advice = PROCESSES if "dropout" in what else DEPENDS.format(reason=_diagnose(subject, model))
        what = f"{name}, {_batch_size(subject)} examples {what}"
        return measure(PARITY, what, difference, limit=limit, where=where, advice=advice)

    def not_checked(reason: str) -> Finding:
        return Finding(PARITY, name, reason or "a process failed", f"{limit:.0e}", "not checked")

    with_dropout = alone(SHARED)
    if max(ranks.per_rank(float(bool(with_dropout.problem)))):
        yield not_checked(with_dropout.problem)
        return None
    shared = measure_gradient(subject, model, cut=SHARED, ranks=ranks) if several else None
    _switch_off_dropout(model)
    chance, _ = compare_gradients(alone(SHARED), alone(SHARED, seed=1))
    whole = alone(Cut())
    problem = whole.problem if chance <= limit else "the model draws random numbers although dropout is off"
    if exact and not problem:
        limit = max(limit, ROUNDING * compare_gradients(exact, whole)[0])
    if shared:
        yield compare(with_dropout, shared, f"with dropout on {ranks.num_ranks} processes")
    if max(ranks.per_rank(float(bool(problem)))):
        yield not_checked(problem)
        return None
    for size in CUTS:
        yield compare(whole, alone(Cut(microbatch_size=size)), f"cut by {size}")
    if several:
        shared = measure_gradient(subject, model, cut=SHARED, ranks=ranks)
        yield compare(whole, shared, f"cut by 4 on {ranks.num_ranks} processes")
    return whole


def measure_alone(subject: Subject, model: torch.nn.Module, cut: Cut, *, seed: int = 0) -> Gradient:
    """The gradient of a cut in this process, as if it were the only one; the problem where it is refused."""
    try:
        return measure_gradient(subject, model, cut=cut, ranks=subject.alone, dropout_seed=seed)
    except (RuntimeError, TypeError, ValueError) as error:  # kernels that know no float64, for example
        return Gradient(problem=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _diagnose(subject: Subject, model: torch.nn.Module) -> str:
    """The likely reason: statistics over the batch, examples that are coupled, padding, or the loss."""
    modules = model.named_modules()
    if norms := [f"{name}: {type(norm).__name__}" for name, norm in modules if isinstance(norm, _BatchNorm)]:
        return f"the model has statistics over the batch ({', '.join(norms[:3])})"
    if subject.prepared.task.coupled_loss is not None:
        return "the outputs of an example depend on the others in its microbatch, or on padding"
    return "padding that is not masked, or a loss that is not a sum over the examples of a microbatch"


def measure_gradient(
    subject: Subject, model: torch.nn.Module, *, cut: Cut, ranks: Ranks, dropout_seed: int = 0
) -> Gradient:
    """Loss and gradient of the first global batch by the step that training makes, without clipping.

    The model is left as it was. Where `ranks` are several, all of them must call.
    """
    task, examples = subject.prepared.task, subject.train
    gradients: dict[str, torch.Tensor] = {}
    ranks = replace(ranks, accelerator=None)  # no autocast, no scaler
    size, seed = _batch_size(subject), subject.config["seeds"]["data"]
    batches = Batches(examples, task, batch_size=size, seed=seed, cut=cut, ranks=ranks)
    model = copy.deepcopy(model)  # what a step changes, and the sharding of it, cannot be undone
    stepper = build.build_stepper(subject.config, model=model, task=task, ranks=ranks)
    optimizer = torch.optim.SGD(stepper.parameters, lr=0.0)

    def record(*_: object) -> None:
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                gradients[name] = copy_whole(parameter.grad)

    optimizer.register_step_pre_hook(record)
    stepper = replace(stepper, optimizer=optimizer, dropout_seed=dropout_seed)
    loss = replace(stepper, max_grad_norm=None, non_finite="warn").step(batches.at(0)).loss
    return Gradient(loss=loss, parameters=gradients)


def compare_gradients(one: Gradient, other: Gradient) -> tuple[float, str]:
    """The largest difference and its name: the loss, relative to itself, or a parameter.

    Gradients are relative to the norm of the whole gradient; a value that is not a number differs infinitely.
    """
    if problem := one.problem or other.problem:
        return math.inf, problem
    tiny = torch.finfo(torch.float64).tiny
    squares = (float(gradient.double().square().sum()) for gradient in one.parameters.values())
    norm = max(math.sqrt(math.fsum(squares)), tiny)
    changes = {"loss": abs(one.loss - other.loss) / max(abs(one.loss), tiny)}
    for name in one.parameters.keys() | other.parameters.keys():
        values = [side.parameters[name].double() for side in (one, other) if name in side.parameters]
        changes[name] = float((values[0] - values[1] if len(values) == 2 else values[0]).norm()) / norm
    return max((change if math.isfinite(change) else math.inf, name) for name, change in changes.items())


def _batch_size(subject: Subject) -> int:
    return min(BATCH_SIZE, len(subject.train))


def _switch_off_dropout(model: torch.nn.Module) -> None:
    """No dropout from now on, in modules and in calls of functions that read a module's probability.

    A model may still draw random numbers in other ways.
    """
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):  # attention_dropout, hidden_dropout_prob, …
                setattr(module, name, 0.0)


def check_evaluation(subject: Subject, *, num_rows: int = NUM_ROWS) -> Iterator[Finding]:
    """One process against all, and batches against single examples; findings on the first process."""
    ranks, task = subject.ranks, subject.prepared.task
    split = next((name for name in subject.prepared.examples if name != "train"), "train")
    if split not in subject.prepared.examples:
        what, reason = "no split to evaluate", "train is a stream"
        yield Finding(EVALUATION, what, reason, allowed="", verdict="not checked")
        return
    whole = subject.prepared.examples[split]
    rows = evenly_spaced(len(whole), num_rows)
    examples = PreparedExamples([record_batch(whole.fetch(rows.tolist()))], cache_note="")
    model = build.build_model(subject.config, subject.prepared, device=ranks.device)
    tokens = build.build_options(subject.config).evaluate_tokens

    def run(tokens: int, ranks: Ranks = subject.alone) -> Any:
        return predict(model, task, examples, max_tokens=tokens, ranks=ranks)

    if not ranks.is_first:
        run(tokens, ranks)
        return
    reference = run(tokens)
    once = np.array_equal(np.unique(reference.example_ids), np.sort(examples.example_ids))
    what, text = f"{len(examples)} examples of {split}", "each once"
    yield judge(EVALUATION, what, text if once else f"not {text}", text, holds=once, advice=ONCE)
    if ranks.num_ranks > 1:
        difference, where = _difference(subject, split, reference, run(tokens, ranks))
        what = f"{split} on {ranks.num_ranks} processes"
        yield measure(EVALUATION, what, difference, limit=0.0, where=where, advice=OTHER_PREDICTIONS)
    float32 = replace(subject.alone, accelerator=None)  # without its autocast
    exact = run(tokens, float32)
    what, others = "one example at a time", run(1, float32)
    difference, where = _difference(subject, split, exact, others)
    yield measure(EVALUATION, what, difference, limit=PREDICTION_LIMIT, where=where, advice=BATCHING)
    if getattr(exact, "generated", None) is not None:
        pairs = zip(exact.generated.rows(), others.generated.rows(), strict=True)
        changed = sum(not np.array_equal(one, two) for one, two in pairs)
        texts, text = f"generated texts, {what}", f"{changed} of {len(examples)}"
        yield judge(EVALUATION, texts, text, "0", holds=not changed, advice=TEXTS)


def _difference(subject: Subject, split: str, one: Any, other: Any) -> tuple[float, str]:
    """The largest difference of predictions and metrics, relative to values above 1, with its name."""
    task, rows = subject.prepared.task, subject.prepared.data.splits[split]
    metrics, groups = build.build_metrics(subject.config, task=task), task.group_names

    def numbers(predictions: Any) -> dict[str, np.ndarray]:
        columns = {
            name: (column.values if isinstance(column, Ragged) else column).astype(np.float64)
            for name, column in columns_of(predictions).items()
            if name != "generated"  # compared as texts
        }
        whole = evaluate(task.assemble(predictions, rows), metrics=metrics, group_names=groups)
        return columns | {name: np.asarray(value) for name, value in whole.metrics.items()}

    others, changes = numbers(other), []
    for name, values in numbers(one).items():
        # not a number in both is no difference, in one only an infinite one
        change = np.abs(values - others[name]) / np.maximum(1.0, np.abs(values))
        change = np.where(np.isnan(change), math.inf, change)
        same = np.isnan(values) & np.isnan(others[name])
        changes.append((float(np.max(np.where(same, 0.0, change), initial=0.0)), name))
    return max(changes, key=lambda pair: pair[0])
