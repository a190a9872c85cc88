"""Fault 4: a training that is resumed anywhere in an epoch goes on with the same losses, to the last bit."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runwright.analysis.steps import LOSS

EPOCH, NUM_STEPS_AFTER = 12, 20  # 92 rows, 8 at a time: the last batch of an epoch has 4
SAVED_AT = {"step 1": 1, "mid-epoch": 7, "epoch end": EPOCH, "epoch end + 1": EPOCH + 1}


CHANCES = {"no chance": [], "dropout": ["model.dropout=0.2"], "masks": []}
UNKNOWN = 1  # the id of [UNK]


def mask(examples: Sequence[Any], *, seed: int, epoch: int) -> list[Any]:
    """Examples in which words are hidden by chance, other ones in every epoch."""
    masked = []
    for example in examples:
        chance = random.Random(f"{seed} {epoch} {example['example_id']}")
        ids = [UNKNOWN if chance.random() < 0.3 else token for token in example["input_ids"]]
        masked.append({**example, "input_ids": ids})
    return masked


class Figures:
    """What a loop logs of each step: the loss to the last bit, and the batches so far."""

    def __init__(self) -> None:
        self.losses: dict[int, str] = {}
        self.ledgers: dict[int, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.losses[step] = metrics[LOSS].hex()

    def log_ledger(self, ledger: str, *, step: int) -> None:
        self.ledgers[step] = ledger

    def sync(self) -> int:
        return 0


def train(config: dict[str, Any], prepared: Any, folder: Path) -> tuple[int, Figures]:
    """Train from the newest checkpoint in the folder, if any; from which step, and what was logged.

    A resumed training saves nothing more.
    """
    import torch

    from runwright import build
    from runwright.trainer.checkpoint import CheckpointStore
    from runwright.trainer.environment import StopFlag
    from runwright.trainer.loop import Loop, TrainingState, restore_snapshot
    from runwright.trainer.options import make_plan
    from runwright.trainer.ranks import Ranks

    ranks, options = Ranks(rank=0, num_ranks=1, device=torch.device("cpu")), build.build_options(config)
    model = build.build_model(config, prepared, device=ranks.device)
    stepper = build.build_stepper(config, model=model, task=prepared.task, ranks=ranks)
    batches = build.build_batches(config, prepared, ranks=ranks)
    plan = make_plan(options, steps_per_epoch=batches.steps_per_epoch)
    assert plan.steps_per_epoch == EPOCH
    scheduler = build.build_scheduler(config, stepper.optimizer, total_steps=plan.total_steps)
    store, log = CheckpointStore(folder, keep=options.keep_checkpoints, identity={}), Figures()
    found = store.load_newest()
    state = restore_snapshot(found[1], stepper, scheduler) if found else TrainingState()
    begin = state.step
    if begin:
        plan = dataclasses.replace(plan, save_every=plan.total_steps)
    loop = Loop(
        batches=batches, stepper=stepper, scheduler=scheduler, options=options, plan=plan, checkpoints=store,
        log=log, stop=StopFlag(), evaluate=None, on_step=lambda *_: None,
        saves_last=not begin,
    )  # fmt: skip
    assert loop.run(state) == 0
    assert store.wait() is None
    return begin, log


@pytest.fixture(scope="module")
def whole_trainings(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trainings with a checkpoint after each step, by kind of chance and microbatch size, each made once."""
    from runwright import build
    from runwright.config.compose import compose_checked

    made: dict[tuple[str, int], Any] = {}

    def get(chance: str, microbatch_size: int) -> Any:
        if (chance, microbatch_size) not in made:
            more = ["model.dropout=0.0", *CHANCES[chance], f"trainer.microbatch_size={microbatch_size}"]
            more += [f"trainer.max_steps={EPOCH + 1 + NUM_STEPS_AFTER}", "trainer.save_every_steps=1"]
            config = compose_checked([*overrides, *more, "trainer.keep_checkpoints=99"]).config
            prepared, folder = build.prepare(config, cache_folder=None), tmp_path_factory.mktemp("whole")
            if chance == "masks":
                prepared.task.augment = mask
            made[chance, microbatch_size] = config, prepared, folder, train(config, prepared, folder)[1]
        return made[chance, microbatch_size]

    return get


@pytest.mark.parametrize("saved_at", SAVED_AT.values(), ids=SAVED_AT)
@pytest.mark.parametrize("microbatch_size", [8, 2], ids=["one microbatch", "four"])
@pytest.mark.parametrize("chance", CHANCES)
def test_the_next_20_losses_after_a_resume_are_equal_to_the_last_bit(
    chance: str, microbatch_size: int, saved_at: int, whole_trainings: Any, tmp_path: Path
) -> None:
    config, prepared, checkpoints, expected = whole_trainings(chance, microbatch_size)
    name = f"step-{saved_at:08d}"
    shutil.copytree(checkpoints / name, tmp_path / name)
    begin, found = train(config, prepared, tmp_path)
    assert begin == saved_at
    steps = range(saved_at + 1, saved_at + 1 + NUM_STEPS_AFTER)
    assert [found.losses[step] for step in steps] == [expected.losses[step] for step in steps]
    assert [found.ledgers[step] for step in steps] == [expected.ledgers[step] for step in steps]
    assert len({expected.losses[step] for step in steps}) == NUM_STEPS_AFTER  # it does learn something


def test_chance_is_at_work_in_the_trainings_above(whole_trainings: Any) -> None:
    losses = [whole_trainings(chance, 8)[3].losses for chance in CHANCES]
    assert len({curve[1] for curve in losses}) == len(CHANCES)
