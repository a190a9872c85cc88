"""`runwright plan`: length, memory, disk and time of a run or a sweep, before any weight is loaded."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import torch
import transformers

from runwright import build
from runwright.analysis.runs import SUMMARY_FILE, read_row
from runwright.config.targets import instantiate
from runwright.model.padding_free import ARCHITECTURES
from runwright.model.parameters import without_adapters
from runwright.predictions import evenly_spaced
from runwright.report.terminal import duration
from runwright.runs.folder import whole_runs
from runwright.store import cache_root, flatten, read_json
from runwright.task.base import model_inputs
from runwright.task.generating import decoder_inputs
from runwright.trainer.batches import StepBatch, StreamBatches
from runwright.trainer.options import choose_splits, make_plan
from runwright.trainer.ranks import ALONE
from runwright.trainer.step import to_device
from runwright.types import Batch

NUM_BATCHES, NUM_STREAMED = 200, 20  # that tell the padding and the largest microbatch; of a stream
NUM_PAST, NUM_LOOKED_AT = 5, 200  # runs that tell the time; newest runs among which they are sought
BASE_BYTES = 550 * 2**20  # measured, on a CPU: Python with torch, transformers, datasets and a tracker
META, OUTLINE = torch.device("meta"), "outline"


def plan_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A plan of one run, whose rows are read and encoded; `memory` is that of one process, in bytes."""
    options = build.build_options(config)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    with META:
        model: Any = build.build_model(config, prepared, device=META)
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    runs_flat = (device, config["model"].get("attention"), attention) == ("cpu", "auto", "sdpa")
    padded = not runs_flat or model.config.model_type not in ARCHITECTURES
    batches = build.build_batches(config, prepared, ranks=ALONE, padded=padded)
    plan = make_plan(options, steps_per_epoch=batches.steps_per_epoch)
    steps = plan.total_steps
    if isinstance(batches, StreamBatches):
        seen = list(batches.iterate(0, min(steps, NUM_STREAMED)))
        tokens = sum(step.real_tokens for step in seen) * steps // len(seen)
    else:
        seen = [batches.at(step) for step in evenly_spaced(steps, NUM_BATCHES).tolist()]
        epochs, lengths = steps // batches.steps_per_epoch, batches.examples.lengths
        rest = (batches.positions(step) for step in range(epochs * batches.steps_per_epoch, steps))
        tokens = epochs * int(lengths.sum()) + sum(int(lengths[positions].sum()) for positions in rest)
    evaluations = -(-steps // plan.evaluate_every)
    counts = {split: len(examples) for split, examples in prepared.examples.items() if split != "train"}
    judged = sum(counts[split] for split in choose_splits(counts))
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    memory = {"weights": weights, **_training_bytes(config, model, seen)}
    saved = weights + memory["optimizer"]
    # A checkpoint is copied before it is written, when gradients and activations are gone.
    most = max(saved + memory["gradients"] + memory["activations"], 2 * saved)
    return {
        "rows": {split: len(rows) for split, rows in prepared.data.splits.items()},
        "steps": steps,
        "tokens": tokens,
        "padding": 1 - sum(step.real_tokens for step in seen) / sum(step.padded_tokens for step in seen),
        "evaluated": evaluations * judged + sum(counts.values()),
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": device,
        "memory": {**memory, "all": most + (BASE_BYTES if device == "cpu" else 0)},
        "disk": (max(1, options.keep_checkpoints) + 1) * saved + weights,
        "past": _past(config, tokens=tokens, device=device),
    }


def _training_bytes(config: Mapping[str, Any], model: Any, steps: Sequence[StepBatch]) -> dict[str, int]:
    """Bytes of gradients, optimizer state and activations, from a step on the meta device."""
    optimizer = instantiate(config["optimizer"], model, group="optimizer", key="optimizer")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group.update(fused=None, foreach=False)
    optimizer.step()
    states = (value for state in optimizer.state.values() for value in state.values())
    microbatches, activations = (one.batch for step in steps for one in step.microbatches), 0
    with suppress(AttributeError, NotImplementedError, RuntimeError):  # a model that looks at values
        activations = _saved_bytes(model, max(microbatches, key=lambda batch: batch["input_ids"].numel()))
    return {
        "gradients": sum(parameter.nbytes for parameter in trained),
        "optimizer": sum(state.nbytes for state in states if isinstance(state, torch.Tensor)),
        "activations": activations // (1 if config["trainer"]["precision"] == "fp32" else 2),
    }


def _saved_bytes(model: Any, batch: Batch) -> int:
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
    inputs = to_device(decoder_inputs(batch, model.config) if joins else model_inputs(batch), META)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = without_adapters(model).train().base_model(**inputs)[0]
    return sum(saved.values()) + states.nbytes


def _attention(
    _module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    """As large as the fused attention, and without a mask, whose making looks at values."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    output, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    return output.transpose(1, 2), None


def _past(config: Mapping[str, Any], *, tokens: int, device: str) -> list[float]:
    """Seconds that the run would take if it were as fast as each earlier one of this model here."""
    same = ("task._target_", "trainer.precision", "launch.num_processes")
    wanted = {key: value for key, value in flatten(config).items() if key in same or key[:6] == "model."}
    seconds: list[float] = []
    for folder in sorted(whole_runs(config["output_dir"]), key=lambda run: run.name)[:-NUM_LOOKED_AT:-1]:
        row, summary = read_row(folder), read_json(folder / SUMMARY_FILE)
        if not row or "seconds" not in summary or row.record.get("host") != platform.node():
            continue
        if summary["device"].startswith(device) and wanted.items() <= row.settings.items():
            spent, done = summary["seconds"], max(summary["real_tokens"], 1)
            growing = spent.get("train", 0.0) + spent.get("evaluate", 0.0)
            seconds.append(growing * tokens / done + spent["all"] - growing)
    return seconds[:NUM_PAST]


def facts(plan: Mapping[str, Any], *, num_trials: int | None) -> Iterator[tuple[str, str]]:
    """Names and texts of a plan; with a number of trials, that of a sweep whose trials are like it."""
    trials = num_trials or 1
    if num_trials is not None:
        yield "trials", f"at most {num_trials:,}, each planned as the one with the first values"
    yield "rows", ", ".join(f"{split} {count:,}" for split, count in plan["rows"].items())
    yield "training", f"{plan['steps']:,} steps, {plan['tokens']:,} tokens, {plan['padding']:.1%} padding"
    yield "evaluation", f"{plan['evaluated']:,} examples"
    yield "model", f"{plan['model']}, {plan['parameters']:,} parameters"
    *parts, total = (f"{name} {size / 2**20:,.0f} MiB" for name, size in plan["memory"].items())
    unknown = "" if plan["memory"]["activations"] else ", activations are not known"
    yield "memory", f"about {total.partition(' ')[2]} on {plan['device']}: {', '.join(parts)}{unknown}"
    yield "disk", f"about {trials * plan['disk'] / 2**20:,.0f} MiB of checkpoints and best models"
    time = "unknown: no run of this model and task has finished on this machine"
    if past := plan["past"]:
        time = f"about {duration(trials * median(past))}, as earlier runs of this model here ({len(past)})"
    yield "time", time
