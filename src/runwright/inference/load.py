"""A finished run put back together: its tokenizer, task and best model, ready to evaluate and to predict."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from runwright import build
from runwright.config.compose import compose
from runwright.config.redaction import reveal
from runwright.config.rules.checks import generates_texts
from runwright.dataset.cleaning.passes import TextStep
from runwright.dataset.examples import ListedExamples, PreparedExamples
from runwright.dataset.fingerprint import content_fingerprint
from runwright.dataset.readers.reading import in_chunks
from runwright.errors import CheckpointError, ConfigError, DataError, RunwrightError, first_line
from runwright.inference.export.onnx_model import OnnxModel
from runwright.inference.records import Columns, texts_of
from runwright.inference.zero_shot import ZeroShot
from runwright.model.configuration import auto_class, quiet_transformers, set_global_attention
from runwright.model.padding_free import use_padding_free
from runwright.model.parameters import count_but_embeddings
from runwright.report.progress import Progress
from runwright.runs.folder import EXPORT_FILE, has_model, read_run, read_saved
from runwright.runs.resume import override_key, with_overrides
from runwright.store import cache_root, read_json
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.task.text import as_texts
from runwright.tokenizer.pretrained import load_pretrained
from runwright.trainer.environment import local_world_size, share_of_cores
from runwright.trainer.evaluate import predict
from runwright.trainer.options import TrainerOptions
from runwright.trainer.ranks import Ranks, set_threads, start_ranks
from runwright.types import Hypotheses, Metric, Speed

CHUNK_RECORDS = 2048  # read, sorted by length and predicted together; bounds the memory


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRun:
    """A run's best model with all that is needed to use it; metrics and progress for an evaluation."""

    folder: Path
    config: Mapping[str, Any]
    tokenizer: Any
    task: Any
    model: torch.nn.Module
    ranks: Ranks
    options: TrainerOptions
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)  # of a model by name: its own settings of it
    progress: Progress = field(default_factory=lambda: Progress(enabled=False))
    stop: None = None
    speed: Speed  # of all predictions so far; texts that were written are not in its tokens
    text_columns: Sequence[str] | None = None  # of records to predict, where they are not those of training
    text_steps: Sequence[TextStep] = ()  # which changed the texts of training

    @property
    def columns(self) -> Columns:
        """The columns of a record that hold the texts; a renamed one may have either of its names."""
        task, asked = self.task, self.text_columns
        names = [name for name in task.text_columns if name not in task.optional_columns]
        if asked and len(asked) != len(names):
            raise ConfigError(f"--text-column: given {len(asked)}, expected {len(names)}: {', '.join(names)}")
        if asked:
            return {name: (column,) for name, column in zip(names, asked, strict=True)}
        renamed, words = self.config["dataset"].get("columns") or {}, task.words_column
        choices = {name: (renamed.get(words), words, renamed.get(name), name) for name in names}
        return {name: tuple(filter(None, columns)) for name, columns in choices.items()}

    def cleaned(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Texts by their column in training, changed as those were."""
        texts = dict(record)
        for step in self.text_steps:
            for name in step.columns:
                if isinstance(text := texts.get(name), str):
                    texts[name] = step.change(text)
        return texts


def load_run(
    folder: Path, *, device: str | None = None, config: Mapping[str, Any] | None = None
) -> FinishedRun:
    """The best model of a run, or an export, with tokenizer and task; raises CheckpointError without one.

    `config` stands in place of the run's own configuration.
    """
    if not has_model(folder):
        problem = f"run {folder} has no best model; its status is {read_run(folder)['status']}"
        raise CheckpointError(f"{problem}, and {folder / 'log.txt'} says why; train it to its end")
    about = read_json(folder / EXPORT_FILE)
    best = folder if about else folder / "best"
    config = config or saved_config(folder)
    # Saved beside the model, whichever function of the user's made it.
    tokenizer = load_pretrained(name=str(best.resolve()), revision=None, padding_side=None, special_tokens={})
    form = about.get("format", "safetensors")
    if form == "onnx" and device == "cuda":
        raise ConfigError(f"--device: given cuda, expected cpu: {folder} is run by onnxruntime on the CPU")
    if form == "torch":
        raise ConfigError(f"{folder}: torch.export.load unpickles, which may run code; predict with an onnx")
    task = build.build_task(config, tokenizer)
    try:
        task.load_state_dict(json.loads((folder / "task.json").read_text(encoding="utf-8")))
        # Nothing is unpickled.
        options = {"trust_remote_code": False, "local_files_only": True, "use_safetensors": True}
        with quiet_transformers():
            if form == "safetensors":
                model: Any = auto_class(task.head).from_pretrained(best, dtype="auto", **options)
            else:
                num_threads = build.build_options(config).num_threads or share_of_cores(local_world_size())
                model, device = OnnxModel(best, about["num_positions"], num_threads=num_threads), "cpu"
    except RunwrightError:
        raise
    except Exception as error:  # transformers raises anything for a damaged file
        problem = f"{best}: given what is not as the run wrote it ({first_line(error)})"
        expected = "config.json and model.safetensors, with task.json beside it"
        raise CheckpointError(f"{problem}, expected {expected}; put them back, or train again") from error
    if form == "safetensors":
        set_global_attention(model)
        if config["model"].get("attention") == "auto":
            use_padding_free(model)
    return finish(folder, config, tokenizer, task, model, device=device)


def finish(
    folder: Path, config: Mapping[str, Any], tokenizer: Any, task: Any, model: Any, *, device: str | None
) -> FinishedRun:
    """The model on its device, with all that is needed to use it."""
    options = build.build_options(config)
    ranks = start_ranks(device or options.device, precision=options.precision)
    set_threads(options.num_threads or share_of_cores(local_world_size()))
    parts: Any = {"folder": folder, "config": config, "tokenizer": tokenizer, "task": task}
    parts["text_steps"] = build.build_text_steps(config)
    speed = Speed(flops_per_token=2.0 * count_but_embeddings(model))
    model = model.to(ranks.device).eval()
    return FinishedRun(**parts, model=model, ranks=ranks, options=options, speed=speed)


def choosing(run: FinishedRun, hypotheses: Hypotheses | None) -> FinishedRun:
    """The run with the task to choose among classes that it was not trained on, if there are any."""
    return replace(run, task=ZeroShot(run.task, hypotheses=hypotheses)) if hypotheses else run


def saved_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run; nothing is tracked here, so that the store's secrets are not needed."""
    return reveal(read_saved(folder), but="tracker")


def generating_config(folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration of a run, which generates texts as its own, else greedily, with overrides on top.

    Raises ConfigError for overrides of anything but `generation`, and where the task generates no texts.
    """
    config = saved_config(folder)
    generates, decoding = generates_texts(config["task"]), config.get("generation")
    keys = [override_key(text) for text in overrides]
    if others := [key for key in keys if not (generates and key.startswith("generation"))]:
        expected = "an option of generation" if generates else "none, for a run that writes no texts"
        raise ConfigError(f"--set, --generation: given {others[0]}, expected {expected}; leave it out")
    if overrides:
        usual = [] if decoding is not None or "generation" in keys else ["generation=greedy"]
        decoding = reveal(with_overrides(folder, [*usual, *overrides]), but="tracker")["generation"]
    elif generates and decoding is None:
        decoding = compose(["generation=greedy"]).config["generation"]
    return {**config, "generation": decoding}


def predict_records(
    run: FinishedRun,
    records: Iterable[dict[str, Any]],
    *,
    all_scores: bool,
    on_progress: Callable[[int], None] | None = None,
    first: int = 0,
) -> Iterator[dict[str, Any]]:
    """Each record with `predicted`, `score` and on demand `scores`, in order; a chunk is in memory."""
    for record, texts, predictions, index in predict_each(run, records, on_progress=on_progress, first=first):
        yield beside(record, run.task.describe(predictions, index, row=texts, all_scores=all_scores))


def beside(record: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its answer; a column that is named like a part of the answer becomes `input_…`."""
    together: dict[str, Any] = {}
    for name, value in record.items():
        new = name
        while new in answer or (new != name and new in record):
            new = f"input_{new}"
        together[new] = value
    return {**together, **answer}


def predict_each(
    run: FinishedRun,
    records: Iterable[dict[str, Any]],
    *,
    first: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Any, int]]:
    """Each record with its texts, predictions of a chunk of records, and its number among these."""
    columns, optional, done = run.columns, run.task.optional_columns, first
    num_examples = len(run.task.label_names) if isinstance(run.task, ZeroShot) else 1  # of a record
    for chunk in in_chunks(records, max(1, CHUNK_RECORDS // num_examples)):
        texts = [
            run.cleaned({name: record.get(name) for name in optional} | texts_of(record, columns, row=row))
            for row, record in enumerate(chunk, start=done)
        ]
        try:
            if isinstance(run.task, MaskedLanguageModeling):
                _require_masks(run, texts)
            predictions = predict_chunk(run, texts, first=done)
        except DataError as error:
            if error.row is None:
                raise
            raise DataError(error.problem, row=done + error.row, column=error.column) from error
        for index, record in enumerate(chunk):
            yield record, texts[index], predictions, index
        done += len(chunk)
        if on_progress:
            on_progress(done)


def _require_masks(run: FinishedRun, records: Sequence[Mapping[str, Any]]) -> None:
    mask, (column,) = run.tokenizer.mask_token, run.task.text_columns
    for row, text in enumerate(as_texts([record[column] for record in records])):
        if mask not in text:
            raise DataError(f"given {text[:60]!r}, expected a text with {mask} in place of a token", row=row)


def examples_of(run: FinishedRun, rows: Any, split: str) -> PreparedExamples:
    """The examples of a split, from the cache where they are in it."""
    options: Any = {"key": {"data": content_fingerprint(rows)}, "folder": cache_root() / "examples"}
    return build.encode_rows(run.config, rows, run.task, run.tokenizer, split=split, **options)


def record_columns(task: Any, records: Sequence[Mapping[str, Any]], *, first: int = 0) -> dict[str, Any]:
    """The input of `encode_records`: columns of the records, None where one lacks it, and their numbers."""
    names = {*task.text_columns, *task.optional_columns}
    columns = {name: [record.get(name) for record in records] for name in names}
    return columns | {"row_id": list(range(first, first + len(records)))}


def predict_chunk(run: FinishedRun, records: Sequence[Mapping[str, Any]], *, first: int = 0) -> Any:
    """Predictions for some records that have the task's text columns, in their order.

    `first` is the number of the first one among all: chance is drawn for each by its number.
    """
    columns = record_columns(run.task, records, first=first)
    if not (examples := run.task.encode_records(columns)):
        return run.task.assemble_records(None, columns)
    options: Any = {"max_tokens": run.options.evaluate_tokens, "ranks": run.ranks, "speed": run.speed}
    predictions = predict(run.model, run.task, ListedExamples(examples), **options)
    return run.task.assemble_records(predictions, columns)
