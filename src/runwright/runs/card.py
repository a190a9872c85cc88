"""Cards in the hub's form: what a model can do and how it was trained, and what is in a data set."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
PIPELINE_TAGS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "masked_language_modeling": "fill-mask",
    "sentence_embedding": "sentence-similarity",
}  # the others write texts
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
    from huggingface_hub import ModelCard, ModelCardData
    from omegaconf import OmegaConf

    config, origin = read_config(folder / CONFIG_FILE), read_json(folder / "provenance.json")
    best = folder / "best"
    module, source = config["task"]["_target_"].split(".")[-2], config["dataset"].get("source") or {}
    tag, base = PIPELINE_TAGS.get(module, "text-generation"), config["model"].get("name")
    is_hub_name = base and base.count("/") == 1 and ":" not in base and not Path(base).exists()
    results = list(_results(result))
    card = {"language": [], "tags": []} | config.get("card", {})
    about = ModelCardData(
        language=card["language"] or None,
        license=card.get("license"),
        library_name="sentence-transformers" if (best / "modules.json").is_file() else "transformers",
        pipeline_tag=tag,
        tags=["runwright", *card["tags"]],
        base_model=base if is_hub_name else None,
        datasets=[source["name"]] if "name" in source else None,
        metrics=list(dict.fromkeys(row["metric"] for row in results)),
        model_name=config["name"],
        eval_results=[_as_result(row, tag, source.get("name", config["name"])) for row in results],
    )
    hardware = origin["hardware"]
    devices = [*hardware["gpus"], f"{hardware['cpu']} (threads of torch: {hardware['num_torch_threads']})"]
    versions = {name: origin["packages"][name] for name in PACKAGES if name in origin["packages"]}
    settings = {group: config[group] for group in SETTINGS if config.get(group) is not None}
    text = ModelCard.from_template(
        about,
        template_path=str(Path(__file__).with_name("card.md.jinja")),
        name=config["name"],
        base=base,
        card=card,
        best_step=result.global_step if result.best_step is None else result.best_step,
        results=[{key: str(value).replace("|", "\\|") for key, value in row.items()} for row in results],
        notes=notes,
        splits=_splits(data),
        sources=_sources(data),
        data_notes=[*data.notes, *data.warnings],
        seconds=duration(result.speed.seconds),
        num_processes=origin["num_processes"],
        hardware=", ".join(devices),
        energy=_energy(folder, result.speed.seconds) if hardware["gpus"] else "",
        settings=OmegaConf.to_yaml(OmegaConf.create(settings)).rstrip(),
        git=origin["git"],
        python=origin["python"]["version"],
        packages=versions,
        command=shlex.join(["runwright", "train", *read_run(folder)["overrides"]]),
    )
    write_text(best / CARD_FILE, _for_others(str(text)))


def _results(result: RunResult) -> Iterator[dict[str, Any]]:
    """A row for each metric that is a number, with its texts for the table."""
    for key, value in result.metrics.items():
        split, metric, group = (*key.split("/", 2), "")[:3]
        if math.isfinite(value):
            interval = result.intervals.get(key)
            texts = [number_text(end) for end in (interval.low, interval.high)] if interval else []
            yield {
                "split": split,
                "metric": metric,
                "group": group,
                "value": number_text(value),
                "interval": " to ".join(texts),
                "number": value,
                "ends": [interval.low, interval.high] if interval else None,
            }


def _as_result(row: Mapping[str, Any], task: str, dataset: str) -> Any:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=task,
        dataset_type=dataset,
        dataset_name=dataset,
        dataset_split=row["split"],
        dataset_config=row["group"] or None,
        metric_type=row["metric"],
        metric_name=row["metric"],
        metric_value=row["number"],
        metric_args={"confidence_interval_95": row["ends"]} if row["ends"] else None,
    )


def _energy(folder: Path, seconds: float) -> str:
    """The energy of the GPUs in words, where the tracker could measure their power."""
    curves = read_curves(folder / JOURNAL_FILE)
    gpus = [name for name in curves if name.startswith(f"{PREFIX}gpu") and name.endswith("_watts")]
    watts = sum(float(curves[name][1].mean()) for name in gpus)
    return f"{watts * seconds / 3600:.3g} Wh" if gpus else ""


def write_dataset(overrides: Sequence[str], folder: Path, *, allow_shadow: bool) -> None:
    """Write the splits that a run with these overrides would have as data/<split>.parquet, with a card."""
    from huggingface_hub import DatasetCard, DatasetCardData

    composed = checked(compose(overrides, allow_shadow=allow_shadow), idle=GROUPS.keys() - {"dataset"})
    config = reveal(composed.config)
    if config["dataset"].get("streaming"):
        raise ConfigError("dataset.streaming: given true, expected false: the splits are written as a whole")
    data, name = build.load_data(config), str(composed.choices["dataset"])
    (folder / "data").mkdir()
    for split, rows in data.splits.items():
        rows.to_parquet(folder / "data" / f"{split}.parquet")
    files = [{"split": split, "path": f"data/{split}.parquet"} for split in data.splits]
    card, splits = config["card"], _splits(data)
    about = DatasetCardData(
        language=card["language"] or None,
        license=card["data_license"],
        pretty_name=name,
        tags=["runwright", *card["tags"]],
        configs=[{"config_name": "default", "data_files": files}],
    )
    text = DatasetCard.from_template(
        about,
        template_path=str(Path(__file__).with_name("dataset_card.md.jinja")),
        name=name,
        version=__version__,
        card=card,
        splits=splits,
        columns=next(iter(data.splits.values())).column_names,
        sources=_sources(data),
        notes=[*data.notes, *data.warnings],
        command=shlex.join(["runwright", "push", "--dataset", *composed.overrides]),
    )
    write_text(folder / CARD_FILE, _for_others(str(text)))


def _splits(data: LoadedData) -> list[tuple[str, str, str]]:
    return [(split, f"{len(rows):,}", data.fingerprints[split]) for split, rows in data.splits.items()]


def _sources(data: LoadedData) -> list[str]:
    return sorted({Path(file).name for files in data.sources.values() for file in files})


def _for_others(text: str) -> str:
    """Without secrets, and without the home folder, which names its owner."""
    return redact(text).replace(str(Path.home()), "~")
