"""Table of the rules about several options; longer checks are functions in `data.py` and `task.py`."""

# ruff: noqa: FBT003 - true and false are values of options here

from __future__ import annotations

from runwright.config.rules import data, task
from runwright.config.rules.makers import (
    as_list,
    at_most,
    at_most_one,
    distinct,
    forbids,
    is_number,
    is_set,
    matches,
    names_target,
    only,
    rule,
    unique,
)

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
STREAMED = {"dataset.streaming": True}
UNNAMED = {"task.label_file?": None, "task.problem?": (None, "single_label", "multi_label")}

INTERVAL = "an evaluation interval: trainer.evaluate_every_steps or trainer.evaluate_every_epochs"
NUMBERWISE = "an optimizer that treats each number on its own"
MATRICES = "adafactor takes means over whole matrices; use optimizer=adamw or sgd, or replicated"
FLATTERED = "metrics of a split that chose the model flatter it"
ALIAS = "an alias is not `latest` or a version such as v1"
NAME = "NAME or NAME@ALIAS of letters, digits, _ and -, in a name also dots and spaces"
FOLDER_NAME = 'a name for a folder, without / \\ : * ? " < > | or a leading dot'
NOT_COUNTED = "the classes of a stream are not counted"
WEIGHTS = f"null, or a weight for each class name: {NOT_COUNTED}"
WHOLE = "a whole split: a slice needs the length"
FIRST, BOTH = "dataset.subset.train takes the first rows", "trainer=steps sets both"
NAMES = "the class names, or task.label_file: a stream is not read before it is trained on"
STEPS = "nobody knows how many steps an epoch of a stream has; set trainer.max_steps"
FOCAL = "{_target_: runwright.task.losses.Focal, gamma: 2.0, alpha: null}"
NO_PAIRS = "task.next_sentence=true, which makes pairs"
SCORES = "the column with the score of a pair"
WITHOUT_SCORES = "without scores: task.problem=retrieval task.objective=in_batch_negatives"
# MLflow takes more; `.` first, quotes and slashes only make trouble. `latest` and `v1` have a meaning there.
REGISTERED = r"[\w\- ][\w.\- ]*(@(?!v\d+$)(?!latest$)[\w\-]+)?"
HUB_NAME = r"(?!.*(--|\.\.|\.git$))[A-Za-z0-9]([\w.\-]*\w)?/\w([\w.\-]*\w)?"

TRAINING = (
    at_most_one("trainer.max_epochs", "trainer.max_steps", none="one of the two"),
    at_most_one("trainer.evaluate_every_steps", "trainer.evaluate_every_epochs"),
    at_most_one("trainer.save_every_steps", "trainer.save_every_epochs"),
    at_most("trainer.microbatch_size", "trainer.batch_size", hint="null: one microbatch"),
    forbids("trainer.early_stopping_patience", is_set, NEVER_EVALUATED, INTERVAL),
    only("trainer.precision", ("fp32", "bf16"), ON_CPU, "on a CPU fp16 has no gradient scaler"),
    only("trainer.precision", ("fp32", "bf16"), SHARDED, "each process would scale its part of the gradient"),
    forbids("optimizer._target_", "runwright.optimizer.adafactor", SHARDED, NUMBERWISE, MATRICES),
    only("optimizer.nesterov", False, {"optimizer.momentum": 0}, "it needs a momentum above 0"),
    at_most_one("scheduler.warmup_ratio", "scheduler.warmup_steps"),
    at_most("scheduler.warmup_steps", "trainer.max_steps"),
    matches("name", r'(?![.\-])(?=.*\S)[^/\\:*?"<>|\0-\x1f]+', FOLDER_NAME),
    # A folder's name takes 255 bytes on most disks, a character up to four.
    matches("name", r"(?s:[\x00-\x7f]{0,120}|.{0,60})", "at most 120 ASCII characters or 60 of any kind"),
    matches("name", r"(?!\s*(?i:sweeps)\s*$)(?s:.*)", "another name: multiruns are kept there"),
    matches("output_dir", r"(?s:.*\S.*)", "a folder, not an empty text"),
    matches("tracker.register_as", REGISTERED, NAME, ALIAS),
    matches("hub.repo", HUB_NAME, "OWNER/NAME of letters, digits, ., _ and -"),
    names_target("model.lora", null="null", hint="choose model=lora"),
    only("model.freeze", [], {"model.lora": is_set}, "adapters freeze the rest by themselves"),
    forbids("model.attention", "flex_attention", ON_CPU, "auto or another: it has no gradient on a CPU"),
    rule(task.decoder_writes_its_own, "model.name", "model.decoder", "task.target_tokenizer", "model.shared"),
    rule(task.config_follows_from_others, "model.config"),
    at_most("task.max_length", "model.config.max_position_embeddings"),
    at_most("task.max_length", "model.config.n_positions"),
)

TASKS = (
    rule(task.best_metric_is_computed, "trainer.best_metric", "metric", "task.problem?", "task._target_?"),
    rule(task.best_mode_is_the_metrics, "trainer.best_metric", "trainer.best_mode", "metric"),
    only("trainer.best_mode", "min", {"trainer.best_metric": "loss"}, "less loss is better"),
    forbids("metric.loss", is_set, {}, "another name for a metric: loss is the task's"),
    rule(task.metrics_suit_the_task, "metric", "task.problem?", "task._target_"),
    only("task.label_smoothing", 0, REGRESSION, "a number is not smoothed towards other classes"),
    only("task.class_weights", None, REGRESSION, "there are no classes"),
    names_target("task.loss", null="null (cross-entropy)", hint=f"such as {FOCAL}"),
    only("task.label_smoothing", 0, {"task.loss": is_set}, "only cross-entropy is smoothed"),
    rule(task.focal_suits_the_problem, "task.loss", "task.problem?"),
    at_most_one("task.label_names", "task.label_file"),
    unique("task.label_names", "class name"),
    unique("task.tag_names", "tag"),
    rule(task.tags_are_of_the_scheme, "task.tag_names", "task.scheme"),
    distinct("task.text_column", "task.label_column", "task.text_pair_column", "task.negative_column?"),
    *(
        forbids(f"metric.next_sentence_{name}", is_set, {"task.next_sentence": False}, NO_PAIRS)
        for name in ("accuracy", "loss")
    ),
    at_most("task.evaluation_stride", "task.max_length"),
    at_most("task.pad_to", "task.max_length"),
    # answers to questions
    rule(task.window_has_room_for_new_text, "task.max_length", "task.max_question_length", "task.overlap"),
    at_most("task.max_answer_length", "task.max_length", less=True),
    rule(task.threshold_is_tuned, "task.no_answer_threshold", "dataset.holdout", "dataset.source.files"),
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
    rule(task.task_generates_texts, "generation", "task._target_"),
    rule(task.texts_are_generated, "metric", "generation?", "task._target_"),
    forbids("generation.stop_strings", lambda stops: "" in as_list(stops), {}, "texts that are not empty"),
    at_most("generation.min_new_tokens", "generation.max_new_tokens"),
    at_most("generation.num_return_sequences", "generation.num_beams"),
    forbids("generation.num_beams", 1, {}, "2 or more", "one beam is generation=greedy"),
    at_most("generation.max_new_tokens", "model.config.max_position_embeddings", less=True),
    at_most("generation.max_new_tokens", "model.config.n_positions", less=True),
)

TOKENIZERS = (
    rule(task.pretrained_model_has_its_own, "tokenizer._target_", "model._target_", "model.embeddings"),
    rule(task.special_tokens_have_roles, "tokenizer.special_tokens"),
    rule(task.delimiters_are_characters, "tokenizer.pre_tokenizer"),
    names_target("tokenizer.model", hint="choose tokenizer=train/bpe, wordpiece, unigram, …"),
    rule(task.algorithm_can_be_trained, "tokenizer.model._target_"),
    rule(task.decoder_undoes_the_steps, "tokenizer.pre_tokenizer", "tokenizer.decoder"),
    rule(task.templates_hold_the_texts, "tokenizer.post_processor"),
    unique("tokenizer.extra_tokens", "token"),
)

DATA = (
    rule(data.combination_has_parts, "_target_", "parts", within="dataset"),
    rule(data.mixture_is_weighted, "_target_", "parts", "weights", "temperature", within="dataset"),
    rule(data.nothing_is_held_out_of_a_mixture, "source._target_", "holdout", within="dataset"),
    rule(data.holdout_leaves_something, "holdout", within="dataset"),
    rule(data.pattern_can_be_read, "pattern", within="dataset"),
    rule(data.splits_have_plain_names, "files?", "splits?", "holdout?", "subset?", within="dataset"),
    at_most("min", "max", within="dataset"),
    at_most("dataset.source.negative_at_most", "dataset.source.positive_at_least", less=True),
    matches("trainer.best_split", r"(?!train$|test)(?s:.*)", "a validation split, or null", FLATTERED),
)

STREAMS = (
    rule(data.nothing_is_held_out_of_a_stream, "dataset.streaming", "dataset.holdout", "dataset.source"),
    rule(data.stream_is_cleaned_row_by_row, "dataset.streaming", "dataset.cleaning"),
    only("dataset.source.streaming", False, {"dataset.streaming": False}, "dataset.streaming=true sets both"),
    only("dataset.source.streaming", True, STREAMED, "set dataset.streaming alone"),
    only("dataset.source.field", None, STREAMED, "a stream is JSON Lines, not a list in an object"),
    matches("dataset.source.splits.train", r"[^\[]*", WHOLE, FIRST, STREAMED),
    only("trainer.max_epochs", None, STREAMED, STEPS, "trainer=steps trainer.max_steps=<number>"),
    only("trainer.evaluate_every_epochs", None, STREAMED, "trainer.evaluate_every_steps counts steps", BOTH),
    only("trainer.save_every_epochs", None, STREAMED, "trainer.save_every_steps counts steps", BOTH),
    only("dataset.num_processes", 1, STREAMED, "a stream is encoded while it is trained on"),
    forbids("task.label_names", None, STREAMED | UNNAMED, NAMES),
    forbids("task.class_weights", "balanced", STREAMED, WEIGHTS),
    only("task.bias_from_labels", False, STREAMED, NOT_COUNTED),
)

RULES = (*TRAINING, *TASKS, *GENERATION, *TOKENIZERS, *DATA, *STREAMS)
