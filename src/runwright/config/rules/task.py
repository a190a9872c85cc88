"""What the keys of data, task, metrics and model say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.table import at_most_one, reads, signature_of
from runwright.config.tag_schemes import PREFIXES, is_tag, other_schemes, tag_shapes
from runwright.errors import Mistake, did_you_mean, listed, shown

LESS_IS_BETTER = {"mean_absolute_error", "mean_squared_error", "perplexity"}  # of the shipped metrics
OWN_DIRECTION = {"runwright.metric.evaluate_adapter.script_metric"}  # it may be any metric

# --- task and metrics ---------------------------------------------------------------------------------


@reads("trainer.best_metric", "metric", "task.problem?", "task._target_?")
def _best_metric_is_computed(best: Any, metrics: Any, problem: Any, target: Any) -> Iterator[Mistake]:
    if not _is_computed(best, metrics):
        problem = problem or _only_problem(target)
        suited = [name for name, node in (metrics or {}).items() if _suits(node, problem)]
        figures = ["loss", *suited]
        hint = did_you_mean(best, figures) or f"add it: metric=[{','.join([*suited, best])}]"
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


@reads("trainer.best_metric", "trainer.best_mode", "metric")
def _best_is_better(best: Any, mode: Any, metrics: Any) -> Iterator[Mistake]:
    node = (metrics or {}).get(best) or {}
    signature = signature_of(node)
    if signature is None:
        return
    returned = signature.returns.get(signature.target.rpartition(".")[2], "")
    if returned.rpartition(".")[2] == "Table":
        yield Mistake(
            key="trainer.best_metric",
            given=f"{shown(best)}, which is not a number",
            expected="a metric to compare",
        )
    elif signature.target.startswith("runwright.metric.") and signature.target not in OWN_DIRECTION:
        better = "min" if signature.target.rpartition(".")[2] in LESS_IS_BETTER else "max"
        if mode != better:
            yield Mistake(
                key="trainer.best_mode",
                given=f"{shown(mode)} with best_metric={best}",
                expected=f"{better!r}: {'less' if better == 'min' else 'more'} of it is better",
            )


@reads("metric")
def _a_figure_is_not_called_loss(metrics: Any) -> Iterator[Mistake]:
    if "loss" in (metrics or {}):
        yield Mistake(
            key="metric.loss", given="a figure named loss", expected="another name: loss is the task's"
        )


@reads("metric", "task.problem", "trainer.best_metric?")
def _metrics_suit_the_problem(metrics: Any, problem: Any, best: Any) -> Iterator[Mistake]:
    yield from _unsuitable(metrics, problem, best, wanted=f"task.problem={problem}")


@reads("metric", "task._target_", "trainer.best_metric?")
def _metrics_suit_the_task(metrics: Any, target: Any, best: Any) -> Iterator[Mistake]:
    yield from _unsuitable(metrics, _only_problem(target), best, wanted=str(target).rpartition(".")[2])


def _unsuitable(metrics: Any, problem: str | None, best: Any, *, wanted: str) -> Iterator[Mistake]:
    for name, node in (metrics or {}).items():
        if not _suits(node, problem):
            judged = listed(_suited_problems(node))
            # Which one to add instead is said where it is missing.
            hint = "choose others: metric=[…]" if _is_computed(best, metrics) else "leave it out"
            yield Mistake(
                key=f"metric.{name}",
                given=f"{str(node[TARGET]).rpartition('.')[2]}, which judges {judged}",
                expected=f"a metric for {wanted}",
                hint=hint,
            )


def _is_computed(best: Any, metrics: Any) -> bool:
    return best in ("loss", None) or best in (metrics or {})


def _only_problem(target: Any) -> str | None:
    """The kind of problem of a task that has only one; others have it as an option."""
    signature = signature_of({TARGET: target}) if target else None
    problem = signature.literals.get("problem") if signature else None
    return problem if isinstance(problem, str) else None


def _suits(node: Any, problem: str | None) -> bool:
    problems = _suited_problems(node)
    return problem is None or not problems or problem in problems


def _suited_problems(node: Any) -> list[str]:
    """The kinds of problems that a metric judges; empty where it does not say."""
    suits = node.get("suits") if isinstance(node, dict) else None
    return suits if isinstance(suits, list) else []


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


@reads("task.loss")
def _a_loss_is_a_node(loss: Any) -> Iterator[Mistake]:
    if loss is not None and not (isinstance(loss, dict) and TARGET in loss):
        named = "focal" in str(loss).lower()
        hint = "task.loss={_target_: runwright.task.losses.Focal, gamma: 2.0, alpha: null}" if named else ""
        expected = f"null (cross-entropy) or a node with a {TARGET}"
        yield Mistake(key="task.loss", given=shown(loss), expected=expected, hint=hint)


@reads("task.loss", "task.label_smoothing")
def _smoothing_is_of_cross_entropy(loss: Any, smoothing: Any) -> Iterator[Mistake]:
    if loss is not None and smoothing:
        yield Mistake(
            key="task.label_smoothing",
            given=f"{shown(smoothing)} beside task.loss",
            expected="0: only cross-entropy is smoothed",
        )


@reads("task.loss", "task.problem")
def _focal_suits_the_problem(loss: Any, problem: Any) -> Iterator[Mistake]:
    if not _is_focal(loss):
        return
    alpha = loss.get("alpha")
    if problem == "regression":
        yield Mistake(
            key="task.loss", given="Focal with task.problem=regression", expected="null: there are no classes"
        )
    elif problem == "single_label":
        yield from _alpha_by_class(alpha)
    elif isinstance(alpha, dict) and any(value > 1 for value in alpha.values()):
        name = next(name for name, value in alpha.items() if value > 1)
        expected = "at most 1: where a label is not there, the weight is 1 - alpha"
        yield Mistake(key=f"task.loss.alpha.{name}", given=shown(alpha[name]), expected=expected)


@reads("task.loss", "task.scheme")
def _focal_weighs_tags(loss: Any, scheme: Any) -> Iterator[Mistake]:  # noqa: ARG001 - a task of tags has one
    if _is_focal(loss):
        yield from _alpha_by_class(loss.get("alpha"))


def _is_focal(loss: Any) -> bool:
    return isinstance(loss, dict) and loss.get(TARGET) == "runwright.task.losses.Focal"


def _alpha_by_class(alpha: Any) -> Iterator[Mistake]:
    if isinstance(alpha, int | float):
        hint = "task.class_weights=balanced weighs them by how often they occur"
        expected = "null, or a weight for each class name: a number is for multi_label"
        yield Mistake(key="task.loss.alpha", given=shown(alpha), expected=expected, hint=hint)


@reads("task.label_names", "task.loss.alpha")
def _alpha_names_known_classes(names: Any, alpha: Any) -> Iterator[Mistake]:
    for name in [name for name in alpha if name not in names] if names and isinstance(alpha, dict) else []:
        yield Mistake(
            key=f"task.loss.alpha.{name}",
            given="a class that task.label_names lacks",
            expected=listed(names),
            hint=did_you_mean(name, names),
        )


@reads("task.label_names", "task.label_file")
def _class_names_come_from_one_place(names: Any, file: Any) -> Iterator[Mistake]:
    yield from at_most_one("task", {"label_names": names, "label_file": file})


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


# --- data and model -----------------------------------------------------------------------------------


@reads("dataset.holdout")
def _hold_out_leaves_something(holdout: Any) -> Iterator[Mistake]:
    for split, share in holdout.items():
        if share < 0 or (share > 1 and share != int(share)):
            expected = "a share from 0 to below 1, or a whole number of rows"
            yield Mistake(key=f"dataset.holdout.{split}", given=shown(share), expected=expected)
    shares = [share for share in holdout.values() if 0 < share < 1]
    if sum(shares) >= 1:
        given = f"shares that sum to {sum(shares):g}"
        yield Mistake(key="dataset.holdout", given=given, expected="less than 1: something to train on")


@reads("dataset.source.negative_at_most", "dataset.source.positive_at_least")
def _classes_do_not_overlap(negative: Any, positive: Any) -> Iterator[Mistake]:
    if negative >= positive:
        yield Mistake(
            key="dataset.source.negative_at_most",
            given=shown(negative),
            expected=f"less than positive_at_least, which is {shown(positive)}",
        )


@reads("model.lora")
def _adapters_are_a_node(lora: Any) -> Iterator[Mistake]:
    if lora is not None and not (isinstance(lora, dict) and TARGET in lora):
        yield Mistake(
            key="model.lora", given=shown(lora), expected="null or a node", hint="choose model=lora"
        )


@reads("model.lora", "model.freeze")
def _adapters_freeze_by_themselves(lora: Any, freeze: Any) -> Iterator[Mistake]:
    if lora is not None and freeze:
        yield Mistake(key="model.freeze", given=f"{shown(freeze)} with model.lora", expected="[]")


SPECIAL_TOKENS = 8  # more than any tokenizer puts around a question and a text
FIGURES = "runwright.metric.answers."


@reads("task.max_length", "task.max_question_length", "task.overlap")
def _a_window_has_room_for_new_text(length: Any, question: Any, overlap: Any) -> Iterator[Mistake]:
    least = question + overlap + SPECIAL_TOKENS
    if length <= least:
        yield Mistake(
            key="task.max_length",
            given=shown(length),
            expected=f"more than {least}: max_question_length, overlap and {SPECIAL_TOKENS} special tokens",
        )


@reads("task.max_length", "task.max_answer_length")
def _an_answer_fits_into_a_window(length: Any, answer: Any) -> Iterator[Mistake]:
    if answer >= length:
        yield Mistake(
            key="task.max_answer_length",
            given=shown(answer),
            expected=f"less than max_length, which is {shown(length)}",
        )


@reads("metric", "task.no_answer_threshold")
def _figures_of_no_answer_need_a_threshold(metrics: Any, threshold: Any) -> Iterator[Mistake]:
    for name, node in (metrics or {}).items() if threshold is None else ():
        if str(node.get(TARGET, "")).startswith(FIGURES) and node.get("of") == "unanswerable":
            yield Mistake(
                key=f"metric.{name}",
                given="a figure of questions without an answer, with task.no_answer_threshold null",
                expected="questions that all have one",
                hint="set task.no_answer_threshold to a number or tune",
            )


@reads("task.no_answer_threshold", "dataset.holdout.validation", "dataset.source.files")
def _a_threshold_is_tuned_on_something(threshold: Any, share: Any, files: Any) -> Iterator[Mistake]:
    if not files.get("train"):
        return  # nothing is trained: an evaluation on other data
    if threshold == "tune" and not share and not files.get("validation"):
        yield Mistake(
            key="task.no_answer_threshold",
            given="'tune' without a validation split",
            expected="null or a number",
            hint="or set dataset.holdout.validation",
        )


@reads("dataset.source.only_titles", "dataset.source.exclude_titles")
def _chosen_articles_are_not_left_out(only: Any, exclude: Any) -> Iterator[Mistake]:
    for split, titles in only.items():
        both = sorted(set(titles or []) & set(exclude.get(split) or []))
        if both:
            yield Mistake(
                key=f"dataset.source.exclude_titles.{split}",
                given=f"{both[0]!r}, which only_titles.{split} has too",
                expected="a title in one of the two",
            )


@reads("task.tag_names", "task.scheme")
def _tag_names_are_of_the_scheme(names: Any, scheme: Any) -> Iterator[Mistake]:
    wrong = [name for name in names or [] if scheme in PREFIXES and not is_tag(name, scheme)]
    if wrong:
        yield Mistake(
            key="task.tag_names",
            given=listed(wrong),
            expected=f"tags of task.scheme={scheme}: {tag_shapes(scheme)}",
            hint=f"others are read with {other_schemes(scheme)}",
        )


@reads("task.tag_names")
def _tag_names_are_unique(names: Any) -> Iterator[Mistake]:
    repeated = sorted({name for name in names or [] if names.count(name) > 1})
    if repeated:
        yield Mistake(key="task.tag_names", given=f"{listed(repeated)} twice", expected="each tag once")
