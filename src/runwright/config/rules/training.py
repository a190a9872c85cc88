"""What the keys of training say together, and where a run goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from runwright.config.rules.table import at_most_one, reads
from runwright.errors import ConfigError, Mistake, shown

# --- how long -----------------------------------------------------------------------------------------


@reads("trainer.max_epochs", "trainer.max_steps")
def _training_has_one_length(epochs: Any, steps: Any) -> Iterator[Mistake]:
    if epochs is None and steps is None:
        yield Mistake(
            key="trainer.max_epochs",
            given="null, with max_steps null too",
            expected="one of the two as a number",
        )
    elif epochs is not None and steps is not None:
        yield Mistake(
            key="trainer.max_steps",
            given=f"{shown(steps)} beside max_epochs {shown(epochs)}",
            expected="only one of the two",
            hint="set the other to null",
        )


@reads("trainer.microbatch_size", "trainer.microbatch_tokens")
def _microbatches_are_cut_one_way(size: Any, tokens: Any) -> Iterator[Mistake]:
    yield from at_most_one("trainer", {"microbatch_size": size, "microbatch_tokens": tokens})


@reads("trainer.evaluate_every_steps", "trainer.evaluate_every_epochs")
def _evaluation_has_one_interval(steps: Any, epochs: Any) -> Iterator[Mistake]:
    yield from at_most_one("trainer", {"evaluate_every_steps": steps, "evaluate_every_epochs": epochs})


@reads("trainer.save_every_steps", "trainer.save_every_epochs")
def _saving_has_one_interval(steps: Any, epochs: Any) -> Iterator[Mistake]:
    yield from at_most_one("trainer", {"save_every_steps": steps, "save_every_epochs": epochs})


@reads("trainer.batch_size", "trainer.microbatch_size")
def _microbatch_is_part_of_the_batch(batch: Any, micro: Any) -> Iterator[Mistake]:
    if micro is not None and micro > batch:
        yield Mistake(
            key="trainer.microbatch_size",
            given=shown(micro),
            expected=f"at most trainer.batch_size, which is {batch}",
            hint="null: one microbatch",
        )


@reads("trainer.early_stopping_patience", "trainer.evaluate_every_steps", "trainer.evaluate_every_epochs")
def _early_stopping_needs_evaluations(patience: Any, steps: Any, epochs: Any) -> Iterator[Mistake]:
    if patience is not None and steps is None and epochs is None:
        yield Mistake(
            key="trainer.early_stopping_patience",
            given=f"{shown(patience)} with no evaluation interval",
            expected="trainer.evaluate_every_steps or trainer.evaluate_every_epochs as well",
        )


@reads("trainer.precision", "trainer.device")
def _half_precision_needs_a_gpu(precision: Any, device: Any) -> Iterator[Mistake]:
    if precision == "fp16" and device == "cpu":
        yield Mistake(
            key="trainer.precision",
            given="'fp16' with trainer.device=cpu",
            expected="'fp32' or 'bf16' on a CPU: fp16 needs a gradient scaler on a GPU",
        )


@reads("launch.strategy", "trainer.precision")
def _shards_need_no_scaler(strategy: Any, precision: Any) -> Iterator[Mistake]:
    if strategy == "fsdp" and precision == "fp16":
        yield Mistake(
            key="trainer.precision",
            given="'fp16' with launch.strategy=fsdp",
            expected="'fp32' or 'bf16'",
            hint="each process would scale its own part of the gradient",
        )


@reads("launch.strategy", "optimizer._target_")
def _shards_need_an_optimizer_by_element(strategy: Any, optimizer: Any) -> Iterator[Mistake]:
    if strategy == "fsdp" and optimizer == "runwright.optimizer.adafactor":
        yield Mistake(
            key="optimizer._target_",
            given="adafactor with launch.strategy=fsdp",
            expected="an optimizer that treats each number on its own",
            hint="adafactor takes means over whole matrices; use optimizer=adamw or sgd, or replicated",
        )


# --- optimisation -------------------------------------------------------------------------------------


@reads("scheduler.warmup_ratio", "scheduler.warmup_steps")
def _warmup_is_said_one_way(ratio: Any, steps: Any) -> Iterator[Mistake]:
    if ratio and steps:
        yield from at_most_one("scheduler", {"warmup_ratio": ratio, "warmup_steps": steps})


@reads("optimizer.nesterov", "optimizer.momentum")
def _nesterov_needs_momentum(nesterov: Any, momentum: Any) -> Iterator[Mistake]:
    if nesterov and not momentum:
        yield Mistake(
            key="optimizer.nesterov", given="true with optimizer.momentum=0", expected="a momentum above 0"
        )


@reads("scheduler.warmup_steps", "trainer.max_steps")
def _warmup_ends_before_training(warmup: Any, steps: Any) -> Iterator[Mistake]:
    if warmup and steps and warmup > steps:
        yield Mistake(
            key="scheduler.warmup_steps",
            given=shown(warmup),
            expected=f"at most trainer.max_steps, which is {steps}",
        )


# --- where it goes ------------------------------------------------------------------------------------


@reads("name")
def _name_is_a_folder_name(name: Any) -> Iterator[Mistake]:
    if (
        not name.strip()
        or name.startswith((".", "-"))
        or any(c in '/\\:*?"<>|\0' or ord(c) < 32 for c in name)
    ):
        yield Mistake(
            key="name",
            given=shown(name),
            expected='a name for a folder, without / \\ : * ? " < > | or a leading dot',
        )
    elif len(name.encode()) > 120:
        yield Mistake(
            key="name", given=f"{len(name.encode())} bytes", expected="a folder name of at most 120"
        )


@reads("name")
def _name_is_not_reserved(name: Any) -> Iterator[Mistake]:
    if name.strip().lower() == "sweeps":
        yield Mistake(key="name", given=shown(name), expected="another name: multiruns are kept there")


@reads("tracker.register_as")
def _registered_name_is_taken_by_mlflow(text: Any) -> Iterator[Mistake]:
    if not text:
        return

    try:
        parse_register_as(text)
    except ConfigError:
        yield Mistake(
            key="tracker.register_as",
            given=shown(text),
            expected="NAME or NAME@ALIAS of letters, digits, _ and -, in a name also dots and spaces",
        )


@reads("output_dir")
def _output_folder_has_a_name(folder: Any) -> Iterator[Mistake]:
    if not folder.strip():
        yield Mistake(key="output_dir", given="empty text", expected="a folder")


_NAME = re.compile(r"[\w\- ][\w.\- ]*")  # MLflow takes more; `.` first, quotes and slashes only make trouble


_ALIAS = re.compile(r"(?!v\d+$)(?!latest$)[\w\-]+")


def parse_register_as(text: str) -> tuple[str, str | None]:
    """Name and alias of `name@alias`; raises ConfigError for what MLflow would refuse."""
    name, _, alias = text.partition("@")
    if not _NAME.fullmatch(name) or ("@" in text and not _ALIAS.fullmatch(alias)):
        raise ConfigError(
            f"tracker.register_as: given {text!r}, expected NAME or NAME@ALIAS: letters, digits, _ and -, "
            "in a name also dots and spaces; an alias is not `latest` or a version such as v1"
        )
    return name, alias or None
