"""Trains an experiment with the plain Trainer of `transformers` and prints its metrics, to compare with ours.

    python scripts/trainer_recipe.py experiment=wnut17 dataset.source.folder=PATH seed=0
    python scripts/trainer_recipe.py --lr 5e-5 experiment=stsb dataset.source.folder=PATH

Takes the overrides of `runwright train`. The same: rows, splits, tokenizer and encoded examples (max_length,
windows, chunks); the pretrained weights, or with model=scratch the same random ones; epochs or steps, batch
size, learning rate, linear warm-up and decay, clipping, threads, and how the test split is judged: our
evaluation of the weights that came of it, with our metrics and our fixed masks.

Theirs: the head, its loss and the dropout of transformers' own model, collators and padding, masks drawn by
the collator, random batches in one piece, the Trainer's AdamW (no weight decay). Class weights, smoothing,
losses of one's own, starting biases, head_lr, freezing and adapters are left out: plain recipes
have none, but for the smoothing of translations. The best epoch by trainer.best_metric on the validation
split counts (load_best_model_at_end).

Prints one line of JSON; what happens meanwhile goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainingArguments

from runwright import build
from runwright.config.compose import compose_checked
from runwright.config.redaction import reveal
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError, RunwrightError
from runwright.model.configuration import auto_class, head_options, quiet_transformers
from runwright.model.pretrained import fit_vocabulary
from runwright.runs.outputs import check_splits
from runwright.store import cache_root
from runwright.trainer.environment import share_of_cores
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.options import TrainerOptions, choose_splits
from runwright.trainer.ranks import Ranks, set_threads, start_ranks

KINDS = ("single_label", "multi_label", "regression", "tags", "answers", "hidden_tokens", "texts")
IGNORED = -100
Features = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is the same for theirs and ours."""

    config: Mapping[str, Any]
    options: TrainerOptions
    prepared: build.Prepared
    splits: tuple[str, ...]  # the first one chooses the best step
    ranks: Ranks

    def figures(self, model: Any, names: Sequence[str]) -> dict[str, float]:
        """Our figures of these splits by `split/name`."""
        prepared, task, found = self.prepared, self.prepared.task, {}
        for split in names:
            rows, examples = prepared.data.splits[split], prepared.examples[split]
            predictions = predict(
                model, task, examples, ranks=self.ranks, max_tokens=self.options.evaluate_tokens
            )
            found_by_row, metrics = task.assemble(predictions, rows), build.build_metrics(self.config)
            evaluation = evaluate(found_by_row, metrics=metrics, group_names=task.group_names)
            found |= {f"{split}/{name}": value for name, value in evaluation.metrics.items()}
        return found


@dataclass
class CountedCollator:
    """A collator that counts examples, and tokens with and without padding."""

    collate: Callable[[list[Features]], Any]
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, features: list[Features]) -> Any:
        batch = self.collate(features)
        mask = batch["attention_mask"]
        self.counts.update(examples=len(mask), real_tokens=int(mask.sum()), padded_tokens=mask.numel())
        return batch


class JudgedTrainer(Seq2SeqTrainer):  # which trains as Trainer does
    """The Trainer as it is, but for the figures of an epoch, which are ours."""

    recipe: Recipe
    evaluate_seconds = 0.0

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Figures of the split that chooses, named as the Trainer looks for them."""
        began = time.monotonic()
        found = self.recipe.figures(self.model, self.recipe.splits[:1])
        named = {f"eval_{name.partition('/')[2]}": value for name, value in found.items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        self.evaluate_seconds += time.monotonic() - began
        print(f"step {self.state.global_step}: {found}", file=sys.stderr)
        return named


def main() -> None:
    """Train, evaluate, print."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for runwright train")
    parser.add_argument("--lr", type=float, help="instead of the experiment's; the Trainer's own is 5e-5")
    args = parser.parse_intermixed_args()
    try:
        print(json.dumps(run(args.overrides, lr=args.lr)))
    except RunwrightError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")


def run(overrides: Sequence[str], *, lr: float | None) -> dict[str, Any]:
    """What came of the recipe; raises ConfigError where there is none for the task."""
    recipe = prepare(overrides)
    transformers.set_seed(recipe.config["seed"])
    collator = CountedCollator(make_collator(recipe))
    with tempfile.TemporaryDirectory(prefix="trainer-recipe-") as folder:
        trainer = make_trainer(recipe, make_arguments(recipe, folder, lr=lr), collator)
        output = trainer.train()
    trained, counts = output.metrics["train_runtime"] - trainer.evaluate_seconds, collator.counts
    began = time.monotonic()
    figures = recipe.figures(trainer.model, [split for split in recipe.prepared.examples if split != "train"])
    evaluated = trainer.evaluate_seconds + time.monotonic() - began
    used = ("seed", "num_train_epochs", "learning_rate", "train_batch_size", "warmup_steps", "weight_decay")
    return {
        "recipe": f"transformers.Trainer {transformers.__version__}",
        "overrides": list(overrides),
        **{name: getattr(trainer.args, name) for name in used},
        "steps": output.global_step,
        "weights_of_step": trainer.state.best_global_step or output.global_step,
        "training_loss": output.training_loss,
        "figures": {name: value if math.isfinite(value) else str(value) for name, value in figures.items()},
        "seconds": {"train": trained, "evaluate": evaluated},  # train: with saving
        "samples_per_second": counts["examples"] / trained,
        "padding_share": 1 - counts["real_tokens"] / counts["padded_tokens"],
        **counts,
        "num_threads": torch.get_num_threads(),
    }


def prepare(overrides: Sequence[str]) -> Recipe:
    """Composed and checked as ours, with prepared examples."""
    config = reveal(compose_checked(list(overrides)).config, but="tracker")
    if config["model"].get("attention") == "auto":  # the recipe is transformers', with its padding
        config = {**config, "model": {**config["model"], "attention": "sdpa"}}
    options = build.build_options(config)
    set_threads(options.num_threads or share_of_cores(1))
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    if prepared.task.problem not in KINDS:
        raise ConfigError(
            f"task: given the problem {prepared.task.problem!r}, expected {', '.join(KINDS)}: transformers "
            "has no Trainer recipe for vectors of sentences; sentence-transformers has one"
        )
    if prepared.stream is not None:
        raise ConfigError("dataset.streaming: given true, expected false: the recipe has its rows in memory")
    splits, ranks = (
        choose_splits(prepared.examples),
        start_ranks(options.device, precision=options.precision),
    )
    check_splits(options, splits)
    return Recipe(config=config, options=options, prepared=prepared, splits=splits, ranks=ranks)


def make_model(recipe: Recipe) -> Any:
    """The auto class of the task on the pretrained weights; with model=scratch our own random ones."""
    node, head = recipe.config["model"], recipe.prepared.task.head
    if node["_target_"].endswith("scratch.build"):
        return build.build_model(recipe.config, recipe.prepared, device=recipe.ranks.device)
    options = {"ignore_mismatched_sizes": True, "use_safetensors": True, **head_options(head)}
    options["revision"] = node["revision"] or "main"
    source = resolve_source(node["name"])
    with quiet_transformers():
        model = auto_class(head).from_pretrained(source, **options)
    fit_vocabulary(
        model, recipe.prepared.tokenizer, name=node["name"], revision=node["revision"],
        embeddings=node["embeddings"],
    )  # fmt: skip
    return model


def features_of(example: Mapping[str, Any], task: Any) -> Features:
    """An encoded example as the collators and models of transformers take it."""
    found = {name: example[name] for name in ("input_ids", "token_type_ids") if name in example}
    match task.problem:
        case "hidden_tokens":
            return found
        case "answers":
            return found | {"start_positions": example["start"], "end_positions": example["end"]}
        case "texts":
            return found | {"labels": example["target_ids"]}
        case "multi_label":
            names = range(len(task.label_names))
            return found | {"labels": [float(place in example["labels"]) for place in names]}
    return found | {"labels": example["labels"]}


def make_collator(recipe: Recipe) -> Callable[[list[Features]], Any]:
    """The collator that transformers has for this kind of task."""
    tokenizer, task = recipe.prepared.tokenizer, recipe.prepared.task
    if task.problem == "tags":
        return transformers.DataCollatorForTokenClassification(tokenizer)
    if task.problem == "hidden_tokens":
        return transformers.DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=task.masking.probability, seed=recipe.config["seed"]
        )
    if task.problem == "texts":
        return transformers.DataCollatorForSeq2Seq(tokenizer)
    return transformers.DataCollatorWithPadding(tokenizer)


def make_arguments(recipe: Recipe, folder: str, *, lr: float | None) -> TrainingArguments:
    """The experiment's budget; whatever is not named here is the Trainer's default."""
    options, schedule = recipe.options, recipe.config["scheduler"]
    chooses = bool(recipe.splits)
    when, is_text = "epoch" if chooses else "no", recipe.prepared.task.problem == "texts"
    return Seq2SeqTrainingArguments(
        output_dir=folder, seed=recipe.config["seed"], use_cpu=recipe.ranks.device.type == "cpu",
        num_train_epochs=options.max_epochs or 1, max_steps=options.max_steps or -1,
        per_device_train_batch_size=options.batch_size,
        learning_rate=lr or recipe.config["optimizer"]["lr"],
        lr_scheduler_type="linear",  # below 1 the warm-up is a share of all steps
        warmup_steps=schedule.get("warmup_steps") or schedule.get("warmup_ratio") or 0,
        max_grad_norm=options.max_grad_norm or 0.0,
        bf16=options.precision == "bf16", fp16=options.precision == "fp16",
        eval_strategy=when, save_strategy=when, save_only_model=True, save_total_limit=1,
        load_best_model_at_end=chooses, metric_for_best_model=options.best_metric,
        greater_is_better=options.best_mode == "max",
        label_smoothing_factor=getattr(recipe.prepared.task, "label_smoothing", 0.0) * is_text,
        logging_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip


def make_trainer(recipe: Recipe, arguments: TrainingArguments, collator: CountedCollator) -> JudgedTrainer:
    """The Trainer over all training examples; windows of which no answer is known teach nothing."""
    examples = recipe.prepared.examples["train"]
    features = [features_of(each, recipe.prepared.task) for each in examples.fetch(range(len(examples)))]
    rows: Any = [each for each in features if each.get("start_positions") != IGNORED]
    trainer = JudgedTrainer(
        model=make_model(recipe), args=arguments, data_collator=collator, train_dataset=rows,
        eval_dataset=rows[:1],  # it must have one; `evaluate` looks elsewhere
    )  # fmt: skip
    if isinstance(collator.collate, transformers.DataCollatorForSeq2Seq):
        collator.collate.model = trainer.model  # which makes the decoder's inputs
    trainer.recipe = recipe
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    main()
