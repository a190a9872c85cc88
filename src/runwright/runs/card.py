"""Cards in the hub's form: what a model can do and how it was trained, and what is in a data set."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright import build
from runwright.config.compose import checked, compose
from runwright.config.redaction import redact, reveal
from runwright.config.rules.table import HUB_NAME
from runwright.config.targets import GROUPS
from runwright.dataset.load import LoadedData
from runwright.errors import ConfigError
from runwright.report.terminal import duration, number_text
from runwright.runs.folder import CONFIG_FILE, read_config, read_run
from runwright.store import local_path, read_json, write_text
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import read_curves
from runwright.tracker.system import PREFIX
from runwright.types import RunResult
from runwright.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD_FILE = "README.md"
PIPELINE_TAGS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "masked_language_modeling": "fill-mask",
    "sentence_embedding": "sentence-similarity",
    "causal_language_modeling": "text-generation",
    "instruction_tuning": "text-generation",
    "sequence_to_sequence": "text2text-generation",
}  # by module; a task of the user's own has none
SETTINGS = ("task", "generation", "model", "tokenizer", "optimizer", "scheduler", "trainer", "seeds")


def write_card(folder: Path, result: RunResult, *, data: LoadedData, notes: Sequence[str]) -> None:
    """Write best/README.md of a run from its records; `notes` say what its metrics mean."""
    from huggingface_hub import ModelCardData
    from omegaconf import OmegaConf

    config, origin = read_config(folder / CONFIG_FILE), read_json(folder / "provenance.json")
    source, card = config["dataset"].get("source") or {}, config.get("card", {})
    base, dataset = config["model"].get("name"), source.get("name") or source.get("hub_name")
    tag = PIPELINE_TAGS.get(config["task"]["_target_"].split(".")[-2])
    dataset = dataset if _is_on_hub(dataset) else None
    results = [*_results(result, task=tag or "other", dataset=dataset or config["name"])]
    is_embedding = (folder / "best" / "modules.json").is_file()
    about = ModelCardData(
        language=card.get("language") or None,
        license=card.get("license"),
        library_name="sentence-transformers" if is_embedding else "transformers",
        pipeline_tag=tag,
        tags=["runwright", *card.get("tags", ())],
        base_model=base if _is_on_hub(base) else None,
        datasets=[dataset] if dataset else None,
        metrics=list(dict.fromkeys(row.metric_type for row in results)),
        model_name=config["name"],
        eval_results=results,
    )
    context = {"name": config["name"], "base": base, "card": card, "data": data, "origin": origin}
    context |= {"result": result, "results": results, "notes": notes}
    context["cleaning"] = [node["_target_"] for node in config["dataset"].get("cleaning") or []]
    command = shlex.join(["runwright", "train", *read_run(folder)["overrides"]])
    energy = _energy(folder, result.speed.seconds) if origin["hardware"]["gpus"] else ""
    settings = OmegaConf.to_yaml({group: config[group] for group in SETTINGS if config.get(group)})
    context |= {"command": command, "settings": settings, "energy": energy}
    _save(about, "card.md.jinja", folder / "best", **context)


def _is_on_hub(name: str | None) -> bool:
    return bool(name and re.fullmatch(HUB_NAME, name)) and not local_path(str(name)).exists()


def _save(about: Any, template: str, folder: Path, **context: Any) -> None:
    """Write a card without secrets, and without the home folder, which names its owner."""
    from huggingface_hub import RepoCard

    file, functions = str(Path(__file__).with_name(template)), {"number": number_text, "duration": duration}
    text = redact(str(RepoCard.from_template(about, template_path=file, **functions, **context)))
    home = os.environ.get("HOME", "").rstrip("/")  # that of a container may be /
    write_text(folder / CARD_FILE, text.replace(f"{home}/", "~/") if home else text)


def _results(result: RunResult, *, task: str, dataset: str) -> Iterator[EvalResult]:
    """Each metric that is a number, with its interval, as the hub writes it."""
    from huggingface_hub import EvalResult

    for key, value in result.metrics.items():
        split, metric, group = (*key.split("/", 2), "")[:3]
        interval = result.intervals.get(key)
        ends = [interval.low, interval.high] if interval else []
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
                metric_args={"confidence_interval_95": ends} if ends and math.isfinite(sum(ends)) else None,
            )


def _energy(folder: Path, seconds: float) -> str:
    """The energy of the GPUs in words, where the tracker could measure their power."""
    curves = read_curves(folder / JOURNAL_FILE)
    gpus = [name for name in curves if name.startswith(f"{PREFIX}gpu") and name.endswith("_watts")]
    watts = sum(float(curves[name][1].mean()) for name in gpus)
    return f"{watts * seconds / 3600:.3g} Wh" if gpus else ""


def write_dataset(overrides: Sequence[str], folder: Path) -> None:
    """Write the splits that a run with these overrides would have as data/<split>.parquet, with a card."""
    from huggingface_hub import DatasetCardData

    composed = checked(compose(overrides), idle=GROUPS.keys() - {"dataset"})
    config, name = reveal(composed.config), str(composed.choices["dataset"])
    if config["dataset"].get("streaming"):
        raise ConfigError("dataset.streaming: given true, expected false: the splits are written as a whole")
    data, card = build.load_data(config), config["card"]
    paths = [{"split": split, "path": f"data/{split}.parquet"} for split in data.splits]
    (folder / "data").mkdir()
    for path in paths:
        data.splits[path["split"]].to_parquet(folder / path["path"])
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
