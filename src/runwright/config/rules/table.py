"""Rules about several options: makers (`at_most_one`, `forbids`, …), the check by a list of them, the table.

Longer checks are functions in `checks.py`. A class of the user's may give other types to names that shipped
classes use, so a rule compares what can be compared and lets everything else pass.
"""

# ruff: noqa: FBT003 - true and false are values of options here

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from runwright.config.options import TARGET, is_node, walk
from runwright.config.rules import checks
from runwright.config.rules.checks import Mistakes, as_dict, as_list, is_number
from runwright.errors import Mistake, listed, shown

When: TypeAlias = Mapping[str, Any]  # key: its value, a tuple of values, or a condition
_ABSENT = object()


def is_set(value: Any) -> bool:
    return value is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A check of the values of some keys, skipped where one is absent or already has a mistake.

    `key?` is None where it is absent. `within` a group keys and mistakes are those of each node in it.
    """

    keys: tuple[str, ...]
    check: Callable[..., Mistakes]
    within: str = ""


def check_rules(
    rules: Iterable[Rule], config: Mapping[str, Any], reported: Iterable[Mistake]
) -> list[Mistake]:
    """The mistakes that the rules find beside those that are reported already."""
    wrong = {mistake.key for mistake in reported}
    mistakes: list[Mistake] = []
    for rule in rules:
        nodes: list[tuple[str, Any]] = [("", config)]
        if rule.within:
            inner = walk(config.get(rule.within), rule.within)
            nodes = [(f"{key}.", value) for key, value in inner if is_node(value)]
        for prefix, node in nodes:
            values = [_value(node, prefix, key, wrong) for key in rule.keys]
            if not any(value is _ABSENT for value in values):
                mistakes += [replace(m, key=f"{prefix}{m.key}") for m in rule.check(*values)]
    return mistakes


def at_most_one(*keys: str, none: str = "") -> Rule:
    """Of these options at most one is set; 0 is not. `none` is expected where all are null."""

    def check(*values: Any) -> Mistakes:
        options = {key: value for key, value in zip(keys, values, strict=True) if value not in (None, 0)}
        if none and all(value is None for value in values):
            yield Mistake(keys[0], f"null, with {keys[1]} null too", none)
        if len(options) > 1:
            both = " and ".join(f"{key}={shown(value)}" for key, value in options.items())
            yield Mistake(list(options)[-1], both, "at most one of them", "set the other to null")

    return Rule(keys=keys, check=check)


def rule(check: Callable[..., Mistakes], *keys: str, within: str = "") -> Rule:
    return Rule(keys=keys, check=check, within=within)


def at_most(key: str, other: str, *, less: bool = False, hint: str = "", within: str = "") -> Rule:
    """The first number is at most (or `less` than) the second."""

    def check(value: Any, bound: Any) -> Mistakes:
        if is_number(value) and is_number(bound) and (value > bound or (less and value == bound)):
            expected = f"{'less than' if less else 'at most'} {other}, which is {shown(bound)}"
            yield Mistake(key, shown(value), expected, hint)

    return Rule(keys=(key, other), check=check, within=within)


def only(key: str, allowed: Any, when: When, why: str, hint: str = "") -> Rule:
    """The option is null, or one of the allowed values, when others have theirs."""
    choices = allowed if isinstance(allowed, tuple) else (allowed,)
    expected = f"{' or '.join(shown(choice) for choice in choices)}: {why}"
    return forbids(key, lambda value: not _is(value, (None, *choices)), when, expected, hint)


def forbids(key: str, forbidden: Any, when: When, expected: str, hint: str = "", *, within: str = "") -> Rule:
    """The option has another value, or fails another condition, when others have their values."""

    def check(value: Any, *others: Any) -> Mistakes:
        if all(map(_is, (value, *others), (forbidden, *when.values()))):
            named = [pair for pair in zip(when, others, strict=True) if not pair[0].endswith("?")]
            texts = [n if callable(when[n]) else f"{n}={shown(other).strip(chr(39))}" for n, other in named]
            problem = f"{shown(value)} with {' and '.join(texts)}" if texts else shown(value)
            yield Mistake(key, problem, expected, hint)

    return Rule(keys=(key, *when), check=check, within=within)


def matches(key: str, pattern: str, expected: str) -> Rule:
    """The text fits the pattern."""

    def is_other(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value) is None

    return forbids(key, is_other, {}, expected)


def distinct(*keys: str) -> Rule:
    """No two of these options name the same column."""

    def check(*values: Any) -> Mistakes:
        seen: dict[str, str] = {}
        for key, value in zip([key.removesuffix("?") for key in keys], values, strict=True):
            if isinstance(value, str) and seen.setdefault(value, key) != key:
                yield Mistake(key, f"{shown(value)}, the same as {seen[value]}", "another column")

    return Rule(keys=keys, check=check)


def unique(key: str, noun: str) -> Rule:
    """The list names nothing twice, and nothing without a name."""

    def check(value: Any) -> Mistakes:
        names = [str(name) for name in as_list(value)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated or not all(name.strip() for name in names):
            problem = f"{listed(repeated)} twice" if repeated else "an empty text"
            yield Mistake(key, problem, f"each {noun} once, and none that is empty")

    return Rule(keys=(key,), check=check)


def names_target(key: str, *, null: str = "", hint: str) -> Rule:
    """The option is a node with a target; `null` describes null if that is allowed too."""

    def is_other(value: Any) -> bool:
        return not (value is None and bool(null)) and TARGET not in as_dict(value)

    return forbids(key, is_other, {}, f"{null and f'{null} or '}a node with a {TARGET}", hint)


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(_is(value, other) for other in wanted)
    return bool(wanted(value) if callable(wanted) else value == wanted)


def _value(node: Any, prefix: str, key: str, wrong: set[str]) -> Any:
    name = key.removesuffix("?")
    # A mistake in the node's target says nothing about the node's other keys.
    full = f"{prefix}{name}."
    if any(f"{bad}.".startswith(full) or full.startswith(f"{bad}.") for bad in wrong):
        return _ABSENT
    value = node
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) and part in value else _ABSENT
    return None if value is _ABSENT and name != key else value


# --- the table --------------------------------------------------------------------------------------------

# Conditions: keys with their values.
NEVER_EVALUATED = {"trainer.evaluate_every_steps": None, "trainer.evaluate_every_epochs": None}
ON_CPU, SHARDED = {"trainer.device": "cpu"}, {"launch.strategy": "fsdp"}
REGRESSION = {"task.problem": "regression"}
SIMILARITY, TRIPLET = {"task.problem": "similarity"}, {"task.objective": "triplet"}
COSINES, DISTANCES = ({"task.objective": names} for names in ("cosine_embedding", ("triplet", "contrastive")))
IN_BATCH = {"task.objective": "in_batch_negatives"}
RETRIEVAL = {"task.problem": "retrieval", "task.objective": ("in_batch_negatives", "triplet")}
SCORED = ("cosine_regression", "contrastive", "cosine_embedding")
RETRIEVAL_BY_SCORES = {"task.problem": "retrieval", "task.objective": SCORED}
WITHOUT_CLASSES = {"task.problem": ("regression", "similarity", "retrieval")}
STREAMED = {"dataset.streaming": True}
COMBINED = {"_target_": "runwright.dataset.load.concat"}
PRETRAINED = {"model._target_": "runwright.model.pretrained.load", "model.embeddings": "by_number"}
UNNAMED = {"task.label_file?": None, "task.problem?": (None, "single_label", "multi_label")}
# The usual architectures that are one half; others are told apart when the model is built.
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "deberta", "deberta-v2", "modernbert")
DECODERS = ("llama", "gpt2", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma", "phi", "opt")
NEXT_TOKENS = {
    "task._target_?": lambda task: str(task).endswith((".CausalLanguageModeling", ".InstructionTuning")),
    "model.config.is_decoder?": (None, False),
}
FROM_TEXTS = {"task._target_?": lambda task: str(task).endswith((".SequenceToSequence", ".Denoising"))}

INTERVAL = "an evaluation interval: trainer.evaluate_every_steps or trainer.evaluate_every_epochs"
FOLDER_NAME = 'a name for a folder, without / \\ : * ? " < > | or a leading dot'
NOT_COUNTED = "the classes of a stream are not counted"
WEIGHTS = f"null, or a weight for each class name: {NOT_COUNTED}"
AS_FILES = "false: files of csv, json, parquet and text are read as streams"
HUB_FILES, BOTH = "those of a hub as hf://datasets/NAME/FILES", "trainer=steps sets both"
NAMES = "the class names, or task.label_file: a stream is not read before it is trained on"
STEPS = "nobody knows how many steps an epoch of a stream has; set trainer.max_steps"
FOCAL = "runwright.task.losses.Focal"
AS_FOCAL = f"such as {{_target_: {FOCAL}, gamma: 2.0}}"
NO_PAIRS = "task.next_sentence=true, which makes pairs"
PARTS = "as in +dataset@dataset.source.parts.<name>=<option>"
ITS_OWN = "the tokenizer that a pretrained model was trained with: tokenizer=pretrained"
OTHER_TOKENIZER = "for any other: model.embeddings=by_token, or model=scratch, which learns from nothing"
SCORES = "the column with the score of a pair"
DECODER = "a decoder, such as llama: an encoder sees the tokens that it is to predict"
BOTH_HALVES = ("an encoder with a decoder, such as marian", "model=scratch_encoder_decoder has both")
WITHOUT_SCORES = "without scores: task.problem=retrieval task.objective=in_batch_negatives"
HUB_NAME = r"(?!.*(--|\.\.|\.git$))[A-Za-z0-9]([\w.\-]*\w)?/\w([\w.\-]*\w)?"

TRAINING = (
    at_most_one("trainer.max_epochs", "trainer.max_steps", none="one of the two"),
    at_most_one("trainer.evaluate_every_steps", "trainer.evaluate_every_epochs"),
    at_most_one("trainer.save_every_steps", "trainer.save_every_epochs"),
    at_most("trainer.microbatch_size", "trainer.batch_size", hint="null: one microbatch"),
    forbids("trainer.microbatch_tokens", "auto", SHARDED, "a number", "a process that runs out holds up all"),
    forbids("trainer.microbatch_tokens", "auto", STREAMED, "a number", "nobody knows its longest row"),
    forbids("trainer.early_stopping_patience", is_set, NEVER_EVALUATED, INTERVAL),
    only("trainer.precision", ("fp32", "bf16"), ON_CPU, "on a CPU fp16 has no gradient scaler"),
    only("trainer.precision", ("fp32", "bf16"), SHARDED, "each process would scale its part of the gradient"),
    only("optimizer.nesterov", False, {"optimizer.momentum": 0}, "it needs a momentum above 0"),
    at_most_one("scheduler.warmup_ratio", "scheduler.warmup_steps"),
    at_most("scheduler.warmup_steps", "trainer.max_steps"),
    matches("name", r'(?![.\-])(?=.*\S)[^/\\:*?"<>|\0-\x1f]+', FOLDER_NAME),
    # A folder's name takes 255 bytes on most disks, a character up to four.
    matches("name", r"(?s:[\x00-\x7f]{0,120}|.{0,60})", "at most 120 ASCII characters or 60 of any kind"),
    matches("name", r"(?!\s*(?i:sweeps)\s*$)(?s:.*)", "another name: multiruns are kept there"),
    matches("output_dir", r"(?s:.*\S.*)", "a folder, not an empty text"),
    matches("hub.repo", HUB_NAME, "OWNER/NAME of letters, digits, ., _ and -"),
    names_target("model.lora", null="null", hint="choose model=lora"),
    only("model.freeze", [], {"model.lora": is_set}, "adapters freeze the rest by themselves"),
    forbids("model.attention", "flex_attention", ON_CPU, "auto or another: it has no gradient on a CPU"),
    rule(
        checks.decoder_writes_its_own, "model.name", "model.decoder", "task.target_tokenizer", "model.shared"
    ),
    forbids("model.architecture", ENCODERS, NEXT_TOKENS, DECODER, "model=scratch_decoder has one"),
    forbids("model.architecture", (*ENCODERS, *DECODERS), FROM_TEXTS, *BOTH_HALVES),
    rule(checks.config_follows_from_others, "model.config"),
    rule(checks.heads_divide_the_width, "model.config", "model.architecture?"),
    at_most("task.max_length", "model.config.max_position_embeddings"),
    at_most("task.max_length", "model.config.n_positions"),
)

TASKS = (
    rule(checks.best_metric_is_computed, "trainer.best_metric", "metric", "task.problem?", "task._target_?"),
    rule(checks.best_mode_is_the_metrics, "trainer.best_metric", "trainer.best_mode", "metric"),
    forbids("metric.loss", is_set, {}, "another name for a metric: loss is the task's"),
    rule(checks.metrics_suit_the_task, "metric", "task.problem?", "task._target_"),
    only("task.label_smoothing", 0, REGRESSION, "a number is not smoothed towards other classes"),
    only("task.class_weights", None, REGRESSION, "there are no classes"),
    names_target("task.loss", null="null (cross-entropy)", hint=AS_FOCAL),
    only("task.label_smoothing", 0, {"task.loss": is_set}, "only cross-entropy is smoothed"),
    forbids("task.loss._target_", FOCAL, WITHOUT_CLASSES, "another loss: there are no classes"),
    at_most_one("task.label_names", "task.label_file"),
    unique("task.label_names", "class name"),
    unique("task.tag_names", "tag"),
    rule(checks.tags_are_of_the_scheme, "task.tag_names", "task.scheme"),
    distinct("task.text_column", "task.label_column", "task.text_pair_column", "task.negative_column?"),
    forbids("metric.next_sentence_accuracy", is_set, {"task.next_sentence": False}, NO_PAIRS),
    at_most("task.evaluation_stride", "task.max_length"),
    at_most("task.pad_to", "task.max_length"),
    # answers to questions
    rule(checks.window_has_room_for_new_text, "task.max_length", "task.max_question_length", "task.overlap"),
    at_most("task.max_answer_length", "task.max_length", less=True),
    # vectors of texts
    forbids("task.label_column", None, SIMILARITY, SCORES, WITHOUT_SCORES),
    forbids("task.label_column", None, RETRIEVAL_BY_SCORES, SCORES, WITHOUT_SCORES),
    only("task.label_column", None, RETRIEVAL, "what is looked for is known without scores"),
    forbids("task.negative_column", None, TRIPLET, "the column of the text that does not belong"),
    at_most("task.label_min", "task.label_max", less=True),
    forbids("task.margin", lambda margin: is_number(margin) and margin <= 0, DISTANCES, "more than 0"),
    forbids("task.margin", lambda margin: is_number(margin) and margin >= 1, COSINES, "less than 1"),
    only("task.loss", None, IN_BATCH, "this objective is a loss over a whole batch"),
    forbids("trainer.batch_size", 1, IN_BATCH, "at least 2: negatives are the others of the batch"),
)

GENERATION = (
    rule(checks.task_generates_texts, "generation", "task._target_"),
    rule(checks.texts_are_generated, "metric", "generation?", "task._target_"),
    forbids("generation.stop_strings", lambda stops: "" in as_list(stops), {}, "texts that are not empty"),
    at_most("generation.min_new_tokens", "generation.max_new_tokens"),
    at_most("generation.num_return_sequences", "generation.num_beams"),
    forbids("generation.num_beams", 1, {}, "2 or more", "one beam is generation=greedy"),
    at_most("generation.max_new_tokens", "model.config.max_position_embeddings", less=True),
    at_most("generation.max_new_tokens", "model.config.n_positions", less=True),
)

TOKENIZERS = (
    forbids("tokenizer._target_", checks.is_trained, PRETRAINED, ITS_OWN, OTHER_TOKENIZER),
    rule(checks.special_tokens_have_roles, "tokenizer.special_tokens"),
    rule(checks.delimiters_are_characters, "tokenizer.pre_tokenizer"),
    names_target("tokenizer.model", hint="choose tokenizer=train/bpe, wordpiece, unigram, …"),
    rule(checks.algorithm_can_be_trained, "tokenizer.model._target_"),
    rule(checks.decoder_undoes_the_steps, "tokenizer.pre_tokenizer", "tokenizer.decoder"),
    rule(checks.templates_hold_the_texts, "tokenizer.post_processor"),
    unique("tokenizer.extra_tokens", "token"),
)

DATA = (
    forbids("parts", lambda parts: not parts, COMBINED, "at least one data set", PARTS, within="dataset"),
    rule(checks.holdout_leaves_something, "holdout", within="dataset"),
    rule(checks.pattern_can_be_read, "pattern", "replacement?", within="dataset"),
    rule(checks.splits_have_plain_names, "files?", "splits?", "holdout?", "subset?", within="dataset"),
    at_most("min", "max", within="dataset"),
    at_most("dataset.source.negative_at_most", "dataset.source.positive_at_least", less=True),
)

STREAMS = (
    rule(
        checks.nothing_is_held_out_of_a_stream, "dataset.streaming", "dataset.holdout", "dataset.source.files"
    ),
    rule(checks.stream_is_cleaned_row_by_row, "dataset.streaming", "dataset.cleaning"),
    only("dataset.source.streaming", False, {"dataset.streaming": False}, "dataset.streaming=true sets both"),
    only("dataset.source.streaming", True, STREAMED, "set dataset.streaming alone"),
    only("dataset.source.field", None, STREAMED, "a stream is JSON Lines, not a list in an object"),
    forbids("dataset.streaming", True, {"dataset.source.streaming?": None}, AS_FILES, HUB_FILES),
    only("trainer.max_epochs", None, STREAMED, STEPS, "trainer=steps trainer.max_steps=<number>"),
    only("trainer.evaluate_every_epochs", None, STREAMED, "trainer.evaluate_every_steps counts steps", BOTH),
    only("trainer.save_every_epochs", None, STREAMED, "trainer.save_every_steps counts steps", BOTH),
    only("dataset.num_processes", 1, STREAMED, "a stream is encoded while it is trained on"),
    forbids("task.label_names", None, STREAMED | UNNAMED, NAMES),
    forbids("task.class_weights", "balanced", STREAMED, WEIGHTS),
    only("task.bias_from_labels", False, STREAMED, NOT_COUNTED),
)

RULES = (*TRAINING, *TASKS, *GENERATION, *TOKENIZERS, *DATA, *STREAMS)
