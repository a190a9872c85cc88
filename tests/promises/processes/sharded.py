"""What groups of processes are asked to do with a model of which each holds a part."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import programs
import torch

from runwright.trainer.batches import Batches, Cut
from runwright.trainer.evaluate import predict
from runwright.trainer.loop import TrainingState, restore_snapshot, take_snapshot
from runwright.trainer.ranks import ALONE as LOCAL
from runwright.trainer.ranks import Ranks, end_ranks
from runwright.trainer.sharding import copy_weights, copy_whole, gathered, release, spread
from runwright.trainer.step import Stepper

# (problem, architecture, examples of a microbatch of the 8)
STEPS = (
    ("single_label", "bert", 2), ("single_label", "bert", 8), ("single_label", "roberta", 3),
    ("pair", "bert", 1), ("multi_label", "distilbert", 3), ("regression", "bert", 2), ("coupled", "bert", 3),
    ("next_tokens", "gpt2", 3), ("texts", "t5", 3),
)  # fmt: skip
UNEVEN = (STEPS[1], STEPS[2], STEPS[6])  # 1, 3 and 3 microbatches by uneven cost, or none


def sharded_steps(folder: Path) -> None:
    """Loss and gradient of one step in one process, and of the same with the model in parts."""
    ranks = programs.join("fsdp")
    found: dict[str, np.ndarray] = {}
    for problem, architecture, size in STEPS if ranks.num_ranks == 2 else UNEVEN:
        for dtype in (torch.float64, torch.float32):
            name = f"{problem}/{architecture}/{size}/{dtype}"
            for kind, those in (("alone", LOCAL), ("sharded", ranks)):
                found[f"{name} {kind}"] = one_step(problem, architecture, dtype, size, those)
    write(folder / f"steps-{ranks.num_ranks}.npz", found, ranks)
    end_ranks(ranks)


def sharded_curve(folder: Path, *, num_steps: int) -> None:
    """Losses and norms of a training with dropout and clipping, and the weights at its end."""
    ranks = programs.join("fsdp")
    found: dict[str, np.ndarray] = {}
    for dtype in (torch.float64, torch.float32):
        for kind, those in (("alone", LOCAL), ("sharded", ranks)):
            stepper = make_stepper("single_label", those, dtype=dtype, dropout=0.2, limit=0.5)
            batches = make_batches(stepper, those, count=30, size=3)
            results = [stepper.step(batch) for batch in batches.iterate(0, num_steps)]
            found[f"losses {dtype} {kind}"] = np.array([result.loss for result in results])
            found[f"norms {dtype} {kind}"] = np.array([result.gradient_norm for result in results])
            found[f"weights {dtype} {kind}"] = flat(copy_weights(stepper.model))
    write(folder / f"curve-{ranks.num_ranks}.npz", found, ranks)
    end_ranks(ranks)


def sharded_parts(folder: Path) -> None:
    """How much each rank holds, predictions on uneven shares, snapshots that go on elsewhere."""
    ranks = programs.join("fsdp")
    stepper = make_stepper("single_label", ranks, dtype=torch.float32, dropout=0.2, limit=1.0)
    batches = make_batches(stepper, ranks, count=30, size=3)
    for step in range(3):
        stepper.step(batches.at(step))
    held = [parameter.to_local().numel() for parameter in stepper.parameters]  # type: ignore[attr-defined]
    states = [s["exp_avg"].to_local().numel() for s in stepper.optimizer.state.values()]
    assert held == states
    shares = [int(share) for share in ranks.sum_vector(own(ranks, sum(held))).tolist()]
    whole = sum(parameter.numel() for parameter in stepper.parameters)
    assert sum(shares) == whole
    assert max(shares) < 1.3 * whole / ranks.num_ranks

    scheduler = torch.optim.lr_scheduler.ConstantLR(stepper.optimizer)
    snapshot = take_snapshot(TrainingState(step=3), stepper, scheduler)
    examples = programs.make_examples(stepper.task, 7)  # uneven shares, and perhaps none
    with gathered(stepper.model):
        shared = predict(stepper.model, stepper.task, examples, max_tokens=40, ranks=ranks)
    after = [stepper.step(batches.at(step)).loss for step in range(3, 6)]
    weights = flat(copy_weights(stepper.model))
    released = release(stepper.model, lambda: programs.make_model(stepper.task, "bert", dropout=0.9))
    if ranks.is_first:
        assert np.array_equal(flat(copy_weights(released)), weights)
    store = save(snapshot, folder, ranks)
    for kind, those in (("alone", LOCAL), ("sharded", ranks)):
        other = make_stepper("single_label", those, dtype=torch.float32, dropout=0.2, limit=1.0)
        _, read = store.load_newest()
        state = restore_snapshot(read, other, torch.optim.lr_scheduler.ConstantLR(other.optimizer))
        assert state.step == 3
        if kind == "alone":
            alone = predict(other.model, other.task, examples, max_tokens=40, ranks=LOCAL)
            assert np.array_equal(alone.losses, shared.losses)
        batches = make_batches(other, those, count=30, size=3)
        losses = [other.step(batches.at(step)).loss for step in range(3, 6)]
        if kind == "sharded":
            assert losses == after  # to the last bit
            again = flat(copy_weights(other.model))
            assert not ranks.is_first or np.array_equal(again, weights)
        else:
            assert np.allclose(losses, after, rtol=1e-5, atol=0.0)
    end_ranks(ranks)


def sharded_models(folder: Path) -> None:
    """One step of models with something special about them, against the same in one process."""
    ranks = programs.join("fsdp")
    found: dict[str, np.ndarray] = {}
    for name in ("checkpointed", "frozen", "tied", "lora", "bare"):
        for kind, those in (("alone", LOCAL), ("sharded", ranks)):
            found[f"{name} {kind}"] = one_step("single_label", "bert", torch.float64, 3, those, special=name)
    write(folder / f"models-{ranks.num_ranks}.npz", found, ranks)
    end_ranks(ranks)


# --- parts --------------------------------------------------------------------------------------------------


def one_step(
    problem: str, architecture: str, dtype: torch.dtype, size: int, ranks: Ranks, *, special: str = ""
) -> np.ndarray:
    """The loss, the norm and after them the whole gradient, [2 + P] float64; on the first rank."""
    stepper = make_stepper(
        problem, ranks, architecture=architecture, dtype=dtype, dropout=0.2, lr=0.0, special=special
    )
    gradients: list[np.ndarray] = []

    def keep(*_: Any) -> None:
        for parameter in stepper.parameters:
            assert parameter.grad is not None
            gradients.append(copy_whole(parameter.grad).double().flatten().numpy())

    stepper.optimizer.register_step_pre_hook(keep)
    result = stepper.step(make_batches(stepper, ranks, count=8, size=size).at(0))
    return np.concatenate([[result.loss, result.gradient_norm], *gradients])


def make_stepper(
    problem: str,
    ranks: Ranks,
    *,
    dtype: torch.dtype,
    dropout: float,
    architecture: str = "bert",
    lr: float = 1e-3,
    limit: float | None = None,
    special: str = "",
) -> Stepper:
    task = programs.make_task(problem)
    model = alter(programs.make_model(task, architecture, dropout=dropout).to(dtype), special)
    spread(model, ranks)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    made = programs.make_stepper(model, task, ranks, lr=lr)
    optimizer = torch.optim.AdamW(parameters, lr=lr, fused=True)
    return replace(made, optimizer=optimizer, parameters=parameters, max_grad_norm=limit)


class Bare(torch.nn.Module):
    """A model with no list of layers: it is sharded as one."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.embeddings = inner.bert.embeddings
        self.head = torch.nn.Linear(16, 4, dtype=torch.float64)

    def forward(self, input_ids: Any, attention_mask: Any, **_: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutput

        hidden = self.embeddings(input_ids=input_ids) * attention_mask[..., None]
        return SequenceClassifierOutput(logits=self.head(hidden.sum(1)))


def alter(model: Any, special: str) -> Any:
    match special:
        case "checkpointed":
            model.activation_checkpointing_enable({"use_reentrant": False})
        case "frozen":
            for parameter in [*model.bert.embeddings.parameters(), *model.bert.encoder.layer[0].parameters()]:
                parameter.requires_grad_(False)
        case "tied":  # within a layer, and of a layer with the pooler, which then stays outside
            layers = model.bert.encoder.layer
            layers[0].attention.self.key.weight = layers[0].attention.self.query.weight
            model.bert.pooler.dense.weight = layers[1].attention.self.query.weight
        case "lora":
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(1)
            options = LoraConfig(
                r=2,
                target_modules=["query", "value"],
                modules_to_save=["classifier"],
                init_lora_weights=False,
            )
            model = get_peft_model(model, options)
        case "bare":
            torch.manual_seed(2)
            model = Bare(model)
    return model


def make_batches(stepper: Stepper, ranks: Ranks, *, count: int, size: int) -> Batches:
    return Batches(
        programs.make_examples(stepper.task, count),
        stepper.task,
        batch_size=8,
        seed=1,
        cut=Cut(microbatch_size=size),
        ranks=ranks,
    )


def save(snapshot: Any, folder: Path, ranks: Ranks) -> Any:
    """The store of checkpoints with the first rank's snapshot, for all to read."""
    from runwright.trainer.checkpoint import CheckpointStore

    store = CheckpointStore(folder / "checkpoints", keep=1, identity={})
    if ranks.is_first:
        store.save(snapshot)
        assert store.wait() is None
    ranks.barrier()
    return store


def flat(weights: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([tensor.double().flatten().numpy() for tensor in weights.values()])


def own(ranks: Ranks, value: float) -> list[float]:
    return [value if rank == ranks.rank else 0.0 for rank in range(ranks.num_ranks)]


def write(file: Path, found: dict[str, np.ndarray], ranks: Ranks) -> None:
    """On the first rank, which has whole tensors; losses and norms must be the same on all."""
    figures = {name: values[:2].tolist() for name, values in found.items() if "weights" not in name}
    digests = ranks.gather(hashlib.sha256(json.dumps(figures).encode()).digest())
    assert len(set(digests)) == 1, "not the same figures on every rank"
    if ranks.is_first:
        np.savez(file, allow_pickle=False, **found)
