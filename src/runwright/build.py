"""From a resolved configuration to ready objects, in the order in which they need each other.

The only module besides the command line that knows what the configuration looks like; everything it makes
takes plain arguments. Rows come first and weights last: a mistake in the data costs no model.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from runwright.config.options import SPLITS, TARGET, metric_nodes
from runwright.config.targets import code_of, instantiate
from runwright.dataset import checks
from runwright.dataset.checks import Kind, SplitLook, missing_column, naming_rows, require_columns
from runwright.dataset.cleaning.passes import TextStep
from runwright.dataset.examples import EncodedStream, PreparedExamples, prepare_examples
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.addresses import file_fingerprint
from runwright.dataset.readers.raw import ROW_ID, left_out_of, reporting_rows
from runwright.dataset.readers.streams import StreamPosition
from runwright.errors import ConfigError, DataError, listed
from runwright.metric.bootstrap import make_metric
from runwright.metric.evaluate_adapter import check_modules, module_notes
from runwright.metric.texts import signature_notes
from runwright.report.progress import Progress
from runwright.tokenizer.algorithms import BATCH, Corpus, corpus_of_rows
from runwright.tokenizer.pretrained import tokenizer_fingerprint
from runwright.tokenizer.trained import TOKENIZER_FOLDER, is_trained, stand_in, trained_tokenizer
from runwright.trainer.batches import Batches, Cut, StreamBatches, derive_seed
from runwright.trainer.options import TrainerOptions
from runwright.trainer.ranks import Ranks, set_threads, start_ranks
from runwright.trainer.sharding import spread
from runwright.trainer.step import Stepper
from runwright.types import Example, Metric, Splits

logger = logging.getLogger(__name__)

Config = Mapping[str, Any]
NOT_ENCODED = ("loss", "pad_to")  # options of a task that examples do not depend on


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything before the weights."""

    data: LoadedData
    tokenizer: Any
    task: Any
    looks: dict[str, SplitLook]  # by split
    examples: dict[str, PreparedExamples]  # by split
    stream: EncodedStream | None = None  # train, where it is a stream; it is not in `examples` then


def load_data(config: Config) -> LoadedData:
    """The rows of every split; raises DataError where a file, a row or a column is wrong."""
    return instantiate(config["dataset"], config["seeds"]["data"], group="dataset", key="dataset")


def build_text_steps(config: Config) -> list[TextStep]:
    """The cleaning steps that change each text on its own, in order; warns of those not here."""
    steps = []
    for node in config["dataset"].get("cleaning") or []:
        try:
            steps.append(instantiate(node, group="dataset"))
        except ConfigError as error:
            logger.warning("texts are not cleaned by %s, which is not here: %s", node.get(TARGET), error)
    return [step for step in steps if isinstance(step, TextStep)]


def build_tokenizer(config: Config, data: LoadedData, *, run_folder: Path | None = None) -> Any:
    """The tokenizer; one that is trained learns from the data, unless the run's folder has it already."""
    node = config["tokenizer"]
    if not is_trained(node):
        return instantiate(node, group="tokenizer", key="tokenizer")
    folder = run_folder and run_folder / TOKENIZER_FOLDER
    return trained_tokenizer(node, partial(texts_of, config, data), run_folder=folder)


def texts_of(config: Config, data: LoadedData | None = None) -> Corpus:
    """The texts to train a tokenizer on: those of its columns, else of the task's."""
    data = data or load_data(config)
    stream, rows = data.stream, _rows_to_fit(data)["train"]
    columns, options = config["tokenizer"].get("columns"), column_options(config)
    if columns is None:
        task = build_task(config, stand_in())
        names = [name for name in rows.column_names if name != ROW_ID]
        # Words are read in place of the texts that a record to predict has.
        fixed = task.row_texts if {*task.columns} <= {*task.row_texts} else ()
        with naming_rows({"train": rows}):
            columns = fixed or task.texts_in([*names, *left_out_of(rows)])
    if not columns:
        raise ConfigError("tokenizer.columns: given [], expected at least one column, or null")

    def tables() -> Iterator[Any]:
        blocks = () if stream is None else stream.blocks(StreamPosition(), repeat(BATCH))
        for table in [rows] if stream is None else (block.rows for block in blocks):
            for column in columns:
                if column not in table.column_names:
                    option = options.get(column, "tokenizer.columns")
                    raise missing_column(column, table, split="train", option=option)
            yield table

    return corpus_of_rows(tables, columns, fingerprint=data.fingerprints["train"])


def column_options(config: Config) -> dict[str, str]:
    options = config["task"].items()
    return {name: f"task.{key}" for key, name in options if isinstance(name, str) and key != TARGET}


def build_task(config: Config, tokenizer: Any) -> Any:
    """The task, which has not seen any data."""
    task = instantiate(config["task"], tokenizer, group="task", key="task")
    if config.get("generation") is not None:  # absent: runs from before there was such a group
        task.strategy = instantiate(config["generation"], group="generation", key="generation")
    return task


def build_metrics(config: Config, *, task: Any = None) -> dict[str, Metric]:
    """The metrics, for the classes of a task where it has learned them; none are the loss alone.

    Raises ConfigError where a module of `evaluate` cannot judge what such a task predicts.
    """
    names = tuple(getattr(task, "label_names", ()))
    check_modules(config.get("metric"), task=config["task"], label_names=names)
    options: dict[str, Any] = {"positive": getattr(task, "positive", 1), "label_names": names}
    nodes = metric_nodes(config.get("metric")).items()
    return {name: make_metric(node, key=f"metric.{name}", **options) for name, node in nodes}


def with_intervals(config: Config, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics that are computed for resamples of the examples too."""
    nodes = metric_nodes(config.get("metric"))
    return {name: metric for name, metric in metrics.items() if nodes[name].get("interval", True)}


def metric_notes(config: Config, task: Any, splits: Mapping[str, Any]) -> list[str]:
    """Lines on what the metrics of these splits are of, and how those of texts compare texts."""
    nodes = config.get("metric") or {}
    notes = module_notes(nodes)
    if task.problem == "texts":
        references = [texts for rows in splits.values() for texts in task.references(rows) or ()]
        notes += signature_notes(nodes, references) if references else []
    names = [name for name, node in nodes.items() if node.get("average") == "binary"]
    if not names or len(task.label_names) != 2:
        return notes
    positive, other = task.label_names[task.positive], task.label_names[1 - task.positive]
    return [*notes, f"{', '.join(names)}: of class {positive!r} (task.positive_label={other} for the other)"]


def build_options(config: Config) -> TrainerOptions:
    return instantiate(config["trainer"], group="trainer", key="trainer")


def prepare(
    config: Config,
    *,
    cache_folder: Path | None,
    run_folder: Path | None = None,
    check: Callable[[LoadedData, Any], object] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Rows, tokenizer, task and examples of a run, which `check` may refuse before any is encoded."""
    progress = progress or Progress(enabled=False)
    with progress.starting("reading rows") as on_rows, reporting_rows(on_rows):
        data = load_data(config)
        tokenizer = build_tokenizer(config, data, run_folder=run_folder)
        task = build_task(config, tokenizer)
        fit_task(task, data, config)
        if check is not None:
            check(data, task)
        data.notes.extend(task.label_notes(data.splits))
        looks = look(data, task)
    prints, total = data.fingerprints, sum(map(len, data.splits.values()))
    with progress.starting("encoding rows") as on_rows, reporting_rows(lambda done: on_rows(done, total)):
        examples = {
            split: encode_rows(
                config, rows, task, tokenizer, split=split, key={"data": prints[split]}, folder=cache_folder
            )
            for split, rows in data.splits.items()
        }
    for split, encoded in examples.items():
        data.notes.extend(task.example_notes(encoded, split=split, num_rows=len(data.splits[split])))
    stream = None
    if data.stream is not None:
        inputs_of = partial(task.inputs_of, split="train")
        kinds = column_kinds(task, _rows_to_fit(data))
        stream = EncodedStream(rows=data.stream, kinds=kinds, inputs_of=inputs_of, encode=task.encode)
    return Prepared(data=data, tokenizer=tokenizer, task=task, looks=looks, examples=examples, stream=stream)


def look(data: LoadedData, task: Any) -> dict[str, SplitLook]:
    """A first look at the rows; what needs a warning is added to the data."""
    texts = task.texts_in(_rows_to_fit(data)["train"].column_names)
    looks = checks.look_at(data.splits, text_columns=texts)
    data.warnings.extend([*checks.warnings_of(looks, task), *checks.file_warnings(data.sources, SPLITS)])
    if data.stream is not None:  # whose rows nobody has read yet
        trained = {file_fingerprint(file) for file in data.stream.files}
        for split in data.splits:
            local = [file for file in data.sources.get(split, ()) if Path(file).is_file()]
            if same := [file for file in local if file_fingerprint(file) in trained]:
                data.warnings.append(f"{split} is read from a file of train: {listed(same)}")
    return looks


def fit_task(task: Any, data: LoadedData, config: Config) -> None:
    """Let the task learn from the rows; raises DataError for a column or a label that cannot be used."""
    splits = _rows_to_fit(data)
    with naming_rows(splits):
        require_columns(splits, column_kinds(task, splits), options=column_options(config))
        task.fit(splits)
    if task.problem == "multi_label":  # the comma of "1,2" stands between two labels
        data.notes[:] = [note for note in data.notes if f"{task.label_column!r} is text (" not in note]
    data.notes.extend(task.notes)


def _rows_to_fit(data: LoadedData) -> Splits:
    """The rows by split; of a stream the first ones stand for all. Raises DataError without a train."""
    if data.stream is not None:
        return {"train": data.stream.head(), **data.splits}
    if "train" not in data.splits:
        raise DataError(f"there is no train split to learn from; splits: {', '.join(data.splits)}")
    return data.splits


def column_kinds(task: Any, splits: Splits) -> dict[str, Kind]:
    """The columns that every split must have, as the first has them, and which of them must hold text."""
    first = next(iter(splits.values()))
    columns = task.columns_in([*first.column_names, *left_out_of(first)])
    return {column: "text" if column in task.row_texts else "any" for column in columns}


def encode_rows(
    config: Config,
    rows: Any,
    task: Any,
    tokenizer: Any,
    *,
    split: str,
    key: Mapping[str, str],
    folder: Path | None,
) -> PreparedExamples:
    """The examples of one split, cached by all that they depend on; `key` identifies the rows."""

    def encode(columns: dict[str, list[Any]]) -> list[Example]:
        with naming_rows({split: rows}, row_ids=columns.get(ROW_ID)):
            return task.encode(columns)

    texts = [name for name in task.texts_in(rows.column_names) if name in rows.column_names]
    if note := checks.special_token_note(rows, texts, tokenizer.all_special_tokens):
        logger.info("data: %s: %s", split, note)
    with naming_rows({split: rows}):
        return prepare_examples(
            partial(task.inputs_of, rows, split=split),
            encode,
            key={
                **key,
                "split": split,
                "tokenizer": tokenizer_fingerprint(tokenizer),
                "task": {name: value for name, value in config["task"].items() if name not in NOT_ENCODED},
                "learned": task.state_dict(),
                "code": code_of(type(task), group="task"),
            },
            folder=folder,
            num_processes=config["dataset"].get("num_processes", 1),
        )


def build_model(config: Config, prepared: Prepared, *, device: torch.device) -> torch.nn.Module:
    """The model on its device; what is newly initialised is a function of the init seed alone."""
    torch.manual_seed(derive_seed("init", config["seeds"]["init"]))
    model = instantiate(config["model"], prepared.task.head, prepared.tokenizer, group="model", key="model")
    options = build_options(config)
    if options.gradient_checkpointing:
        if not getattr(model, "supports_gradient_checkpointing", False):
            raise ConfigError(f"trainer.gradient_checkpointing: {type(model).__name__} does not support it")
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model.to(device)


def build_stepper(config: Config, *, model: torch.nn.Module, task: Any, ranks: Ranks) -> Stepper:
    options = build_options(config)
    if options.precision == "fp16" and ranks.accelerator and ranks.scaler is None:
        raise ConfigError(
            f"trainer.precision: given 'fp16', expected bf16 or fp32: {ranks.device.type!r} has no gradient "
            "scaler"
        )
    spread(model, ranks)
    optimizer = instantiate(config["optimizer"], model, group="optimizer", key="optimizer")
    return Stepper(
        model=model,
        task=task,
        optimizer=optimizer,
        parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        ranks=ranks,
        dropout_seed=config["seeds"]["dropout"],
        max_grad_norm=options.max_grad_norm,
        non_finite=options.non_finite,
    )


def join_ranks(config: Config, *, num_threads: int) -> Ranks:
    """Join the other processes of the run, if there are any, with so many threads in this one."""
    options = build_options(config)
    ranks = start_ranks(
        options.device,
        precision=options.precision,
        strategy=config["launch"]["strategy"],
        num_processes=config["launch"]["num_processes"],
        timeout_seconds=config["launch"]["timeout_seconds"],
    )
    set_threads(num_threads, deterministic=options.deterministic)
    return ranks


def build_scheduler(config: Config, optimizer: torch.optim.Optimizer, *, total_steps: int) -> Any:
    return instantiate(config["scheduler"], optimizer, total_steps, group="scheduler", key="scheduler")


def build_batches(
    config: Config, prepared: Prepared, *, ranks: Ranks, padded: bool = True
) -> Batches | StreamBatches:
    """The training batches of this rank, for a model that computes the padding or leaves it out."""
    options, task = build_options(config), prepared.task
    size, tokens = options.microbatch_size, options.microbatch_tokens
    tokens = None if tokens == "auto" else tokens  # until memory was tried
    cut, seed = Cut(microbatch_size=size, microbatch_tokens=tokens, padded=padded), config["seeds"]["data"]
    shared: Any = {"batch_size": options.batch_size, "seed": seed, "ranks": ranks, "cut": cut}
    if prepared.stream is None:
        return Batches(prepared.examples["train"], task, **shared)
    return StreamBatches(prepared.stream, task, shuffle_buffer=prepared.data.shuffle_buffer, **shared)
