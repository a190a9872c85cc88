"""What several keys say together. Add a check: write a function and name the keys it reads.

A check gets the values of its keys; it is skipped where one of them is absent or already has a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from runwright.mistakes import Mistake, did_you_mean, listed, shown
from runwright.option_types import TARGET
from runwright.signature import read_signature

Check: TypeAlias = Callable[..., Iterator[Mistake]]
CHECKS: list[tuple[tuple[str, ...], Check]] = []
_ABSENT = object()


def reads(*keys: str) -> Callable[[Check], Check]:
    """Enter a check into the table with the keys whose values it gets."""

    def enter(check: Check) -> Check:
        CHECKS.append((keys, check))
        return check

    return enter


def check_combinations(config: dict[str, Any], known: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes of all checks whose keys are right on their own."""
    wrong = {mistake.key for mistake in known}
    config = {"metric": {}, **config}  # `metric=[]` leaves no such key
    mistakes: list[Mistake] = []
    for keys, check in CHECKS:
        values = [_select(config, key) for key in keys]
        if _ABSENT in values or any(_touches(wrong, key) for key in keys):
            continue
        mistakes.extend(check(*values))
    return mistakes


def _touches(wrong: set[str], key: str) -> bool:
    # A mistake in the node's target says nothing about the node's other keys.
    return any(bad == key or bad.startswith(key + ".") for bad in wrong)


def _select(config: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return _ABSENT
        config = config[part]
    return config


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
    yield from _at_most_one("trainer", {"microbatch_size": size, "microbatch_tokens": tokens})


@reads("trainer.evaluate_every_steps", "trainer.evaluate_every_epochs")
def _evaluation_has_one_interval(steps: Any, epochs: Any) -> Iterator[Mistake]:
    yield from _at_most_one("trainer", {"evaluate_every_steps": steps, "evaluate_every_epochs": epochs})


@reads("trainer.save_every_steps", "trainer.save_every_epochs")
def _saving_has_one_interval(steps: Any, epochs: Any) -> Iterator[Mistake]:
    yield from _at_most_one("trainer", {"save_every_steps": steps, "save_every_epochs": epochs})


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


# --- task and metrics ---------------------------------------------------------------------------------


@reads("trainer.best_metric", "metric")
def _best_metric_is_computed(best: Any, metrics: Any) -> Iterator[Mistake]:
    figures = ["loss", *(metrics or {})]
    if best not in figures:
        hint = did_you_mean(best, figures) or f"add it: metric=[{','.join([*figures[1:], best])}]"
        yield Mistake(
            key="trainer.best_metric", given=shown(best), expected=f"one of {listed(figures)}", hint=hint
        )


@reads("trainer.best_metric", "trainer.best_mode")
def _loss_is_minimised(best: Any, mode: Any) -> Iterator[Mistake]:
    if best == "loss" and mode == "max":
        yield Mistake(
            key="trainer.best_mode",
            given="'max' with best_metric=loss",
            expected="'min': less loss is better",
        )


@reads("metric")
def _a_figure_is_not_called_loss(metrics: Any) -> Iterator[Mistake]:
    if "loss" in (metrics or {}):
        yield Mistake(
            key="metric.loss", given="a figure named loss", expected="another name: loss is the task's"
        )


@reads("metric", "task.problem")
def _metrics_suit_the_problem(metrics: Any, problem: Any) -> Iterator[Mistake]:
    for name, node in (metrics or {}).items():
        module, _, definition = str(node.get(TARGET)).rpartition(".")
        signature = read_signature(module, definition)
        suits = signature.literals.get("suits") if signature else None
        if isinstance(suits, tuple | list) and problem not in suits:
            yield Mistake(
                key=f"metric.{name}",
                given=f"{definition}, which judges {listed(suits)}",
                expected=f"a metric for task.problem={problem}",
                hint="choose others: metric=[…]",
            )


@reads("task.text_column", "task.text_pair_column", "task.label_column")
def _columns_differ(text: Any, pair: Any, label: Any) -> Iterator[Mistake]:
    if text == label:
        yield Mistake(
            key="task.label_column", given=f"{shown(label)}, the text column", expected="another column"
        )
    if pair is not None and pair in {text, label}:
        other = "text_column" if pair == text else "label_column"
        yield Mistake(
            key="task.text_pair_column",
            given=f"{shown(pair)}, the same as task.{other}",
            expected="another column",
        )


@reads("task.problem", "task.label_smoothing")
def _smoothing_needs_classes(problem: Any, smoothing: Any) -> Iterator[Mistake]:
    if problem == "regression" and smoothing:
        yield Mistake(
            key="task.label_smoothing",
            given=f"{shown(smoothing)} with task.problem=regression",
            expected="0: a number cannot be smoothed towards other classes",
        )


@reads("task.problem", "task.class_weights")
def _weights_need_classes(problem: Any, weights: Any) -> Iterator[Mistake]:
    if problem == "regression" and weights is not None:
        yield Mistake(
            key="task.class_weights",
            given=f"{shown(weights)} with task.problem=regression",
            expected="null: there are no classes",
        )


@reads("task.label_names", "task.label_file")
def _class_names_come_from_one_place(names: Any, file: Any) -> Iterator[Mistake]:
    yield from _at_most_one("task", {"label_names": names, "label_file": file})


@reads("task.label_names")
def _class_names_are_unique(names: Any) -> Iterator[Mistake]:
    repeated = sorted({name for name in names or [] if names.count(name) > 1})
    if repeated:
        yield Mistake(
            key="task.label_names", given=f"{listed(repeated)} twice", expected="each class name once"
        )


@reads("task.label_names", "task.class_weights")
def _weights_name_known_classes(names: Any, weights: Any) -> Iterator[Mistake]:
    unknown = [name for name in weights if name not in names] if names and isinstance(weights, dict) else []
    if unknown:
        hint = did_you_mean(unknown[0], names)
        yield Mistake(
            key=f"task.class_weights.{unknown[0]}",
            given="a class that task.label_names lacks",
            expected=listed(names),
            hint=hint,
        )


# --- optimisation -------------------------------------------------------------------------------------


@reads("scheduler.warmup_ratio", "scheduler.warmup_steps")
def _warmup_is_said_one_way(ratio: Any, steps: Any) -> Iterator[Mistake]:
    if ratio and steps:
        yield from _at_most_one("scheduler", {"warmup_ratio": ratio, "warmup_steps": steps})


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


@reads("output_dir")
def _output_folder_has_a_name(folder: Any) -> Iterator[Mistake]:
    if not folder.strip():
        yield Mistake(key="output_dir", given="empty text", expected="a folder")


def _at_most_one(group: str, values: dict[str, Any]) -> Iterator[Mistake]:
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) > 1:
        both = " and ".join(f"{name}={shown(value)}" for name, value in given.items())
        yield Mistake(
            key=f"{group}.{list(given)[-1]}",
            given=both,
            expected="at most one of them",
            hint="set the other to null",
        )
