"""`runwright plan`: length, memory, disk and time of a run or a sweep, before any weight is loaded."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from statistics import median
from typing import Any

import torch
import transformers

from runwright import build
from runwright.analysis.runs import SUMMARY_FILE, read_row
from runwright.model.padding_free import ARCHITECTURES
from runwright.model.parameters import without_adapters
from runwright.predictions import evenly_spaced
from runwright.report.terminal import duration, print_facts, result_console
from runwright.runs.folder import whole_runs
from runwright.store import cache_root, flatten, read_json
from runwright.task.base import model_inputs
from runwright.task.sequence_to_sequence import decoder_inputs
from runwright.trainer.batches import Batches, Picked, layout
from runwright.trainer.options import TrainerOptions, choose_splits, make_plan
from runwright.trainer.ranks import ALONE
from runwright.trainer.step import to_device
from runwright.trainer.stream import StreamBatches

NUM_CUT = 2000  # steps whose microbatches are looked at, for padding and the largest one
NUM_STREAMED = 20  # of a stream
NUM_PAST, NUM_LOOKED_AT = 5, 200  # runs that tell the time; newest runs among which they are sought
# Resident memory of a run of 35,000 weights: Python with torch, transformers, datasets and the tracker.
BASE_BYTES = 550 * 2**20
OUTLINE = "outline"  # an attention of the meta device: as large as the fused one, and without a mask


def plan_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A plan of one run; reads and encodes the rows through the cache, as the run itself will.

    `memory` and `disk` are bytes; `memory` is that of one process.
    """
    options = build.build_options(config)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    with torch.device("meta"):
        model: Any = build.build_model(config, prepared, device=torch.device("meta"))
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    settings = getattr(model, "config", None)
    is_flat = (device, config["model"].get("attention"), getattr(settings, "_attn_implementation", None)) == (
        "cpu",
        "auto",
        "sdpa",
    ) and getattr(settings, "model_type", None) in ARCHITECTURES
    batches = build.build_batches(config, prepared, ranks=ALONE, padded=not is_flat)
    plan = make_plan(options, steps_per_epoch=batches.steps_per_epoch)
    splits = choose_splits(prepared.examples, best_split=options.best_split)
    sizes = {split: len(rows) for split, rows in prepared.data.splits.items()}
    counts = {split: len(examples) for split, examples in prepared.examples.items()}
    num_evaluations = -(-plan.total_steps // plan.evaluate_every) if plan.evaluate_every else 1
    examples = num_evaluations * sum(counts[split] for split in splits.names)
    length, largest = _length(batches, plan.total_steps)
    weights = sum(p.numel() * p.element_size() for p in (*model.parameters(), *model.buffers()))
    memory = {"weights": weights, **_training_bytes(config, model, largest, options)}
    if is_flat and largest is not None:  # the padding of that microbatch is not computed
        share = float(largest["attention_mask"].float().mean())
        memory["activations"] = round(memory["activations"] * share)
    saved = weights + memory["optimizer"]
    shares = config["launch"]["num_processes"] if config["launch"]["strategy"] == "fsdp" else 1
    held = (saved + memory["gradients"]) // shares + memory["activations"]
    base = BASE_BYTES if device == "cpu" else 0
    # A checkpoint is copied before it is written, when gradients and activations are gone.
    memory["at most"] = base + max(held, saved // shares + saved if device == "cpu" else 0)
    return {
        "rows": sizes,
        "examples": counts,
        "steps": plan.total_steps,
        **length,
        "evaluated_examples": examples + sum(counts[s] for s in counts if s != "train"),
        "evaluations": num_evaluations,
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": device,
        "processes": config["launch"]["num_processes"],
        "memory": memory,
        "disk": {"checkpoints": (options.keep_checkpoints + 1) * saved, "best": weights},
        "past": _past(config, tokens=length["tokens"], device=device),
    }


def _length(batches: Batches | StreamBatches, steps: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Tokens, the share of padding in them, and the largest microbatch; of a stream by its first batches."""
    if isinstance(batches, StreamBatches):
        first = list(islice(batches.iterate(0, min(steps, NUM_STREAMED)), NUM_STREAMED))
        real, padded = sum(one.real_tokens for one in first), sum(one.padded_tokens for one in first)
        microbatches = [one.batch for step in first for one in step.microbatches]
        largest = max(microbatches, key=lambda batch: batch["input_ids"].numel(), default=None)
        return {"tokens": real * steps // max(len(first), 1), "padding": 1 - real / max(padded, 1)}, largest
    lengths, per_epoch = batches.examples.lengths, batches.steps_per_epoch
    epochs = steps // per_epoch
    rest = (int(lengths[batches.positions(step)].sum()) for step in range(epochs * per_epoch, steps))
    tokens = epochs * int(lengths.sum()) + sum(rest)
    real = padded = most = at = 0
    for step in evenly_spaced(steps, NUM_CUT).tolist():
        positions = batches.positions(step)
        _, costs = layout(Picked([(batches.examples, positions)]), batches.cut)
        real, padded = real + int(lengths[positions].sum()), padded + sum(costs)
        most, at = max((most, at), (max(costs), step))
    microbatches = [one.batch for one in batches.at(at).microbatches]
    largest = max(microbatches, key=lambda batch: batch["input_ids"].numel())
    return {"tokens": tokens, "padding": 1 - real / max(padded, 1)}, largest


def _training_bytes(
    config: Mapping[str, Any], model: Any, batch: Mapping[str, Any] | None, options: TrainerOptions
) -> dict[str, int]:
    """Bytes of gradients, optimizer state and activations, from one step on the meta device."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = build.instantiate(config["optimizer"], model, group="optimizer", key="optimizer")
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group.update(fused=None, foreach=False)
    optimizer.step()
    states = (value for state in optimizer.state.values() for value in state.values())
    activations = _saved_bytes(model, batch) if batch else 0
    return {
        "gradients": sum(parameter.numel() * parameter.element_size() for parameter in trained),
        "optimizer": sum(state.nbytes for state in states if isinstance(state, torch.Tensor)),
        "activations": activations // (1 if options.precision == "fp32" else 2),
    }


def _saved_bytes(model: Any, batch: Mapping[str, Any]) -> int:
    """Bytes that a forward of the batch through the model's body keeps for the backward."""
    transformers.AttentionInterface.register(OUTLINE, _attention)
    with suppress(AttributeError, ValueError):  # an attention of its own
        model.set_attn_implementation(OUTLINE)
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    joins = model.config.is_encoder_decoder and "labels" in batch
    inputs = decoder_inputs(dict(batch), model.config) if joins else model_inputs(dict(batch))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = without_adapters(model).train().base_model(**to_device(inputs, torch.device("meta")))[0]
    return sum(saved.values()) + states.nbytes


def _attention(
    _module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    output, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    return output.transpose(1, 2), None


def _past(config: Mapping[str, Any], *, tokens: int, device: str) -> dict[str, Any]:
    """Seconds that this run would have taken as fast as earlier ones of this model on this machine were."""
    wanted = {key: value for key, value in flatten(config).items() if _sets_speed(key)}
    runs, seconds = whole_runs(config["output_dir"]), []
    for folder in sorted(runs, key=lambda run: run.name, reverse=True)[:NUM_LOOKED_AT]:
        row = read_row(folder, runs[folder])
        summary = read_json(folder / SUMMARY_FILE) if row and row.status == "FINISHED" else {}
        spent, done = summary.get("seconds", {}), summary.get("real_tokens", 0)
        if not row or not done or not spent.get("all") or row.record.get("host") != platform.node():
            continue
        if torch.device(summary["device"]).type != device or any(
            row.settings.get(key) != value for key, value in wanted.items()
        ):
            continue
        growing = spent.get("train", 0.0) + spent.get("evaluate", 0.0)
        seconds.append(growing * tokens / done + spent["all"] - growing)
        if len(seconds) == NUM_PAST:
            break
    return {"runs": len(seconds), "seconds": median(seconds) if seconds else None}


def _sets_speed(key: str) -> bool:
    return key.startswith("model.") or key in ("task._target_", "trainer.precision", "launch.num_processes")


def show(plan: Mapping[str, Any], *, num_trials: int | None) -> None:
    """Print a plan; with a number of trials, that of a sweep whose trials are like it."""
    print_facts(_facts(plan, num_trials), console=result_console())


def _facts(plan: Mapping[str, Any], num_trials: int | None) -> Iterator[tuple[str, str]]:
    trials, past = num_trials or 1, plan["past"]
    if num_trials is not None:
        yield "trials", f"at most {num_trials:,}, each planned as the one with the first values:"
    yield "rows", ", ".join(f"{split} {count:,}" for split, count in plan["rows"].items())
    about = "" if "train" in plan["examples"] else "about "
    length = f"{plan['steps']:,} steps, {about}{plan['tokens']:,} tokens, {plan['padding']:.1%} padding"
    yield "training", length
    evaluations = f"{plan['evaluations']:,} while training, {plan['evaluated_examples']:,} examples in all"
    yield "evaluations", evaluations
    yield "model", f"{plan['model']}, {plan['parameters']:,} parameters"
    *parts, (_, total) = ((name, f"{size / 2**20:,.0f} MiB") for name, size in plan["memory"].items())
    several = f" in each of {plan['processes']} processes" if plan["processes"] > 1 else ""
    text = ", ".join(f"{name} {size}" for name, size in parts)
    yield "memory", f"about {total} on {plan['device']}{several}: {text}"
    disk = sum(plan["disk"].values())
    text = f"about {disk * trials / 2**20:,.0f} MiB at most: checkpoints and best model"
    yield "disk", text + (f", {disk / 2**20:,.0f} MiB a trial" if num_trials else "")
    if past["seconds"] is None:
        yield "time", "unknown: no run of this model, task and precision has finished on this machine"
    else:
        text = f"about {duration(past['seconds'] * trials)}, as fast as {past['runs']} earlier runs here"
        yield "time", text + (f"; {duration(past['seconds'])} a trial" if num_trials else "")
