"""Rules about metrics, classes, tags, answers and tokenizers that are more than a line of the table."""

from __future__ import annotations

from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.makers import Mistakes, as_dict, as_list, is_number, signature_of
from runwright.config.tag_schemes import PREFIXES, is_tag, other_schemes, tag_shapes
from runwright.errors import Mistake, did_you_mean, listed, shown

LESS_IS_BETTER = {"mean_absolute_error", "mean_squared_error", "perplexity"}  # of the shipped metrics
OWN_DIRECTION = {"runwright.metric.evaluate_adapter.script_metric"}  # it may be any metric
SPECIAL_TOKENS = 8  # more than any tokenizer puts around a question and a text
FOCAL = "runwright.task.losses.Focal"
ANSWER_METRICS = "runwright.metric.answers."
TRAINED = "runwright.tokenizer.trained."
NUM_BYTES = 256
WHOLE = ("byte_level", "metaspace")  # steps that change the text, and the decoders that change it back


def best_metric_is_computed(best: Any, metrics: Any, problem: Any, target: Any) -> Mistakes:
    if isinstance(best, str) and not _is_computed(best, metrics):
        problem = problem or _only_problem(target)
        suited = [name for name, node in as_dict(metrics).items() if _suits(node, problem)]
        hint = did_you_mean(best, ["loss", *suited]) or f"add it: metric=[{','.join([*suited, best])}]"
        expected = f"one of {listed(['loss', *suited])}"
        yield Mistake(key="trainer.best_metric", given=shown(best), expected=expected, hint=hint)


def best_mode_is_the_metrics(best: Any, mode: Any, metrics: Any) -> Mistakes:
    signature = signature_of(as_dict(metrics).get(str(best)))
    if signature is None:
        return
    returned = signature.returns.get(signature.target.rpartition(".")[2], "")
    if returned.rpartition(".")[2] == "Table":
        given = f"{shown(best)}, which is not a number"
        yield Mistake(key="trainer.best_metric", given=given, expected="a metric to compare")
    elif signature.target.startswith("runwright.metric.") and signature.target not in OWN_DIRECTION:
        less = signature.target.rpartition(".")[2] in LESS_IS_BETTER
        if mode != ("min" if less else "max"):
            expected = "'min': less of it is better" if less else "'max': more of it is better"
            given = f"{shown(mode)} with best_metric={best}"
            yield Mistake(key="trainer.best_mode", given=given, expected=expected)


def metrics_suit_the_task(metrics: Any, problem: Any, target: Any, best: Any) -> Mistakes:
    wanted = f"task.problem={problem}" if problem else str(target).rpartition(".")[2]
    for name, node in as_dict(metrics).items():
        if not _suits(node, problem or _only_problem(target)):
            yield Mistake(
                key=f"metric.{name}",
                given=f"{node[TARGET].rpartition('.')[2]}, which judges {listed(_suited_problems(node))}",
                expected=f"a metric for {wanted}",
                # Which one to add instead is said where it is missing.
                hint="choose others: metric=[…]" if _is_computed(best, metrics) else "leave it out",
            )


def _is_computed(best: Any, metrics: Any) -> bool:
    return best in ("loss", None) or str(best) in as_dict(metrics)


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
    return as_list(as_dict(node).get("suits"))


def focal_suits_the_problem(loss: Any, problem: Any) -> Mistakes:
    if as_dict(loss).get(TARGET) != FOCAL:
        return
    if problem == "regression":
        given = "Focal with task.problem=regression"
        yield Mistake(key="task.loss", given=given, expected="null: there are no classes")
    elif problem == "single_label":
        yield from focal_suits_tags(loss, None)
    else:
        weights = as_dict(loss.get("alpha"))
        for name in [name for name, value in weights.items() if is_number(value) and value > 1][:1]:
            expected = "at most 1: where a label is not there, the weight is 1 - alpha"
            yield Mistake(key=f"task.loss.alpha.{name}", given=shown(weights[name]), expected=expected)


def focal_suits_tags(loss: Any, scheme: Any) -> Mistakes:  # noqa: ARG001 - a task of tags has a scheme
    alpha = as_dict(loss).get("alpha")
    if as_dict(loss).get(TARGET) == FOCAL and is_number(alpha):
        hint = "task.class_weights=balanced weighs them by how often they occur"
        expected = "null, or a weight for each class name: a number is for multi_label"
        yield Mistake(key="task.loss.alpha", given=shown(alpha), expected=expected, hint=hint)


def tags_are_of_the_scheme(names: Any, scheme: Any) -> Mistakes:
    if scheme not in list(PREFIXES):
        return
    wrong = [name for name in as_list(names) if not is_tag(str(name), scheme)]
    if wrong:
        expected = f"tags of task.scheme={scheme}: {tag_shapes(scheme)}"
        hint = f"others are read with {other_schemes(scheme)}"
        yield Mistake(key="task.tag_names", given=listed(wrong), expected=expected, hint=hint)


def window_has_room_for_new_text(length: Any, question: Any, overlap: Any) -> Mistakes:
    if not all(map(is_number, (length, question, overlap))):
        return
    least = question + overlap + SPECIAL_TOKENS
    if length <= least:
        expected = f"more than {least}: max_question_length, overlap and {SPECIAL_TOKENS} special tokens"
        yield Mistake(key="task.max_length", given=shown(length), expected=expected)


def unanswerable_needs_a_threshold(metrics: Any, threshold: Any) -> Mistakes:
    for name, node in as_dict(metrics).items() if threshold is None else ():
        if str(node.get(TARGET)).startswith(ANSWER_METRICS) and node.get("of") == "unanswerable":
            yield Mistake(
                key=f"metric.{name}",
                given="a metric of questions without an answer, with task.no_answer_threshold null",
                expected="questions that all have one",
                hint="set task.no_answer_threshold to a number or tune",
            )


def threshold_is_tuned_on_something(threshold: Any, share: Any, files: Any) -> Mistakes:
    # Without a file of train nothing is trained: an evaluation on other data.
    train, validation = as_dict(files).get("train"), as_dict(files).get("validation")
    if threshold == "tune" and train and not share and not validation:
        given, hint = "'tune' without a validation split", "or set dataset.holdout.validation"
        yield Mistake(key="task.no_answer_threshold", given=given, expected="null or a number", hint=hint)


def pretrained_model_has_its_own(tokenizer: Any, model: Any, embeddings: Any) -> Mistakes:
    is_trained = str(tokenizer).startswith(TRAINED)
    if is_trained and model == "runwright.model.pretrained.load" and embeddings != "by_token":
        yield Mistake(
            key="tokenizer",
            given="one that is trained, with a pretrained model",
            expected="the tokenizer that the model was trained with: tokenizer=pretrained",
            hint="for any other: model.embeddings=by_token, or model=scratch, which learns from nothing",
        )


def algorithm_can_be_trained(target: Any) -> Mistakes:
    signature = signature_of({TARGET: target})
    if signature is not None and "train" not in signature.returns:
        expected = (
            "what learns a vocabulary: Bpe, WordPiece, Unigram or Words of runwright.tokenizer.algorithms"
        )
        yield Mistake(key="tokenizer.model._target_", given=shown(target), expected=expected)


def decoder_undoes_the_steps(steps: Any, decoder: Any) -> Mistakes:
    for name in [name for name in WHOLE if (name in as_list(steps)) != (decoder == name)][:1]:
        out = "" if name in as_list(steps) else "out"
        given = f"{shown(decoder)} with{out} {name} in tokenizer.pre_tokenizer"
        expected = f"{name} in both or in neither: one undoes the other"
        yield Mistake(key="tokenizer.decoder", given=given, expected=expected)


def bytes_come_last(steps: Any) -> Mistakes:
    if "byte_level" in as_list(steps)[:-1] and steps[-1] != "byte_level":
        expected = "byte_level as the last step: after it there are no letters to cut at"
        yield Mistake(key="tokenizer.pre_tokenizer", given=shown(steps), expected=expected)


def vocabulary_holds_bytes(steps: Any, size: Any) -> Mistakes:
    if "byte_level" in as_list(steps) and is_number(size) and size <= NUM_BYTES:
        expected = f"more than {NUM_BYTES}: every byte is a token"
        yield Mistake(key="tokenizer.model.vocab_size", given=shown(size), expected=expected)


def templates_hold_the_texts(templates: Any) -> Mistakes:
    texts = {"single": ("$A",), "pair": ("$A", "$B")}
    for name, template in as_dict(templates).items():
        key = f"tokenizer.post_processor.{name}"
        if name not in texts:
            yield Mistake(key=key, given="an unknown key", expected="single or pair")
        elif template is not None and not all(text in str(template) for text in texts[name]):
            yield Mistake(key=key, given=shown(template), expected=f"a place for {' and '.join(texts[name])}")
