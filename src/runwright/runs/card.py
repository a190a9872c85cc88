"""Cards in the hub's form: what a model can do and how it was trained, and what is in a data set."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright import build
from runwright.config.compose import checked, compose
from runwright.config.redaction import redact, reveal
from runwright.config.targets import GROUPS
from runwright.dataset.load import LoadedData
from runwright.errors import ConfigError
from runwright.report.terminal import duration, number_text
from runwright.runs.folder import CONFIG_FILE, read_config, read_run
from runwright.store import read_json, write_text
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import read_curves
from runwright.tracker.system import PREFIX
from runwright.types import RunResult
from runwright.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
PIPELINE_TAGS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "masked_language_modeling": "fill-mask",
    "sentence_embedding": "sentence-similarity",
    "causal_language_modeling": "text-generation",
    "instruction_tuning": "text-generation",
}  # the others write texts from texts
PACKAGES = ("runwright", "torch", "transformers", "tokenizers", "datasets")
SETTINGS = ("task", "generation", "model", "tokenizer", "optimizer", "scheduler", "trainer", "seeds")


def write_card(folder: Path, result: RunResult, *, data: LoadedData, notes: Sequence[str]) -> None:
    """Write best/README.md of a run from its records; an error in it is no error of the run.

    `data` are the rows of the run, `notes` say what its metrics mean.
    """
    try:
        _write_card(folder, result, data=data, notes=notes)
    except Exception:
        logger.warning("no model card could be written", exc_info=True)


def _write_card(folder: Path, result: RunResult, *, data: LoadedData, notes: Sequence[str]) -> None:
    from huggingface_hub import ModelCardData
    from omegaconf import OmegaConf

    config, origin = read_config(folder / CONFIG_FILE), read_json(folder / "provenance.json")
    source, base = config["dataset"].get("source") or {}, config["model"].get("name")
    tag = PIPELINE_TAGS.get(config["task"]["_target_"].split(".")[-2], "text2text-generation")
    is_hub_name = base and base.count("/") == 1 and ":" not in base and not Path(base).exists()
    results = [*_results(result, task=tag, dataset=source.get("name", config["name"]))]
    card = {"language": [], "tags": []} | config.get("card", {})
    is_embedding = (folder / "best" / "modules.json").is_file()
    settings = {group: config[group] for group in SETTINGS if config.get(group) is not None}
    about = ModelCardData(
        language=card["language"] or None,
        license=card.get("license"),
        library_name="sentence-transformers" if is_embedding else "transformers",
        pipeline_tag=tag,
        tags=["runwright", *card["tags"]],
        base_model=base if is_hub_name else None,
        datasets=[source["name"]] if "name" in source else None,
        metrics=list(dict.fromkeys(row.metric_type for row in results)),
        model_name=config["name"],
        eval_results=results,
    )
    _save(
        about,
        "card.md.jinja",
        folder / "best",
        name=config["name"],
        base=base,
        card=card,
        result=result,
        results=results,
        notes=notes,
        data=data,
        origin=origin,
        packages={name: origin["packages"][name] for name in PACKAGES if name in origin["packages"]},
        energy=_energy(folder, result.speed.seconds) if origin["hardware"]["gpus"] else "",
        settings=OmegaConf.to_yaml(OmegaConf.create(settings)).rstrip(),
        command=shlex.join(["runwright", "train", *read_run(folder)["overrides"]]),
    )


def _save(about: Any, template: str, folder: Path, **context: Any) -> None:
    """Write a card without secrets, and without the home folder, which names its owner."""
    from huggingface_hub import RepoCard

    file, functions = str(Path(__file__).with_name(template)), {"number": number_text, "duration": duration}
    text = str(RepoCard.from_template(about, template_path=file, **functions, **context))
    write_text(folder / CARD_FILE, redact(text).replace(str(Path.home()), "~"))


def _results(result: RunResult, *, task: str, dataset: str) -> Iterator[EvalResult]:
    """Each metric that is a number, with its interval, as the hub writes it."""
    from huggingface_hub import EvalResult

    for key, value in result.metrics.items():
        split, metric, group = (*key.split("/", 2), "")[:3]
        interval = result.intervals.get(key)
        if math.isfinite(value):
            yield EvalResult(
                task_type=task,
                dataset_type=dataset,
                dataset_name=dataset,
                dataset_split=split,
                dataset_config=group or None,
                metric_type=metric,
                metric_name=metric,
                metric_value=value,
                metric_args={"confidence_interval_95": [interval.low, interval.high]} if interval else None,
            )


def _energy(folder: Path, seconds: float) -> str:
    """The energy of the GPUs in words, where the tracker could measure their power."""
    curves = read_curves(folder / JOURNAL_FILE)
    gpus = [name for name in curves if name.startswith(f"{PREFIX}gpu") and name.endswith("_watts")]
    watts = sum(float(curves[name][1].mean()) for name in gpus)
    return f"{watts * seconds / 3600:.3g} Wh" if gpus else ""


def write_dataset(overrides: Sequence[str], folder: Path, *, allow_shadow: bool) -> None:
    """Write the splits that a run with these overrides would have as data/<split>.parquet, with a card."""
    from huggingface_hub import DatasetCardData

    composed = checked(compose(overrides, allow_shadow=allow_shadow), idle=GROUPS.keys() - {"dataset"})
    config, name = reveal(composed.config), str(composed.choices["dataset"])
    if config["dataset"].get("streaming"):
        raise ConfigError("dataset.streaming: given true, expected false: the splits are written as a whole")
    data, card = build.load_data(config), config["card"]
    files = {split: f"data/{split}.parquet" for split in data.splits}
    (folder / "data").mkdir()
    for split, rows in data.splits.items():
        rows.to_parquet(folder / files[split])
    paths = [{"split": split, "path": file} for split, file in files.items()]
    about = DatasetCardData(
        language=card["language"] or None,
        license=card["data_license"],
        pretty_name=name,
        tags=["runwright", *card["tags"]],
        configs=[{"config_name": "default", "data_files": paths}],
    )
    command = shlex.join(["runwright", "push", "--dataset", *composed.overrides])
    context = {"name": name, "version": __version__, "card": card, "data": data, "command": command}
    _save(about, "dataset_card.md.jinja", folder, **context)
