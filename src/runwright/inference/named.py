"""Models to predict or evaluate with: a run, or the name of a folder, a package or a hub."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runwright.config.sources import GGUF, PACKAGE_PREFIX
from runwright.errors import ConfigError, did_you_mean
from runwright.runs.folder import RUN_FILE, resolve_run
from runwright.store import local_path
from runwright.types import HYPOTHESIS, Hypotheses

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A model that is no run, and how it is to be used."""

    name: str
    task: str | None = None  # None: as its config.json says
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    new_weights: bool = False  # a head that the checkpoint lacks may be random
    features: Literal["token", "pooled"] | None = None  # states instead of predictions
    layer: int | None = None  # of the states, 0: embeddings; None: the last


def find_model(asked: Named) -> Path | Named:
    """`asked` where it is the folder of a model, else the folder of a run, else `asked`.

    Raises ConfigError where it can be neither, and for what no run takes.
    """
    reference = asked.name
    folder = local_path(reference)
    if (folder / "config.json").is_file() and not (folder / RUN_FILE).is_file():
        return asked
    is_here = folder.is_dir() or reference.endswith(GGUF)
    is_name = is_here or reference.startswith(PACKAGE_PREFIX) or bool(asked.task or asked.features)
    try:
        run = resolve_run(reference, needs_model=True)
    except ConfigError as error:
        if not any(folder.glob(f"*/{RUN_FILE}")) and (is_name or _HUB_NAME.fullmatch(reference)):
            return asked
        is_word = reference != "latest" and re.fullmatch(r"[\w.-]+", reference)
        files = [f for name in (RUN_FILE, "config.json") for f in Path().glob(f"*/{name}")]
        hint = did_you_mean(f"./{reference}", [f"./{file.parent}" for file in files])
        hint = hint or "for a model of that name on a hub add --task, in Python task="
        raise ConfigError(f"{error}; {hint}" if is_word else str(error)) from error
    if asked.features:  # of its best model, whatever its head; an export is one
        best = run / "best"
        return replace(asked, name=str(best if best.is_dir() else run), task=None)
    if asked.task is not None or asked.dtype != "fp32":
        flag = "--dtype" if asked.task is None else f"--task {asked.task} (in Python task=)"
        raise ConfigError(f"{flag}: {reference} is the run {run}, which has its own; leave it out")
    return run


def hypotheses_of(labels: str | None, template: str | None) -> Hypotheses | None:
    """The classes A,B,C of zero-shot classification; None without any. Raises ConfigError."""
    if labels is None:
        if template is not None:
            raise ConfigError("--hypothesis: given without classes, expected --labels A,B,C as well")
        return None
    names = tuple(filter(None, map(str.strip, labels.split(","))))
    if len({*names}) < max(len(names), 2):
        expected = "2 or more different classes with commas between them"
        raise ConfigError(f"--labels, candidate_labels: given {labels!r}, expected {expected}")
    template = HYPOTHESIS if template is None else template
    if template.count("{}") != 1:
        name, expected = "--hypothesis, hypothesis_template", "a sentence with {} for the class"
        raise ConfigError(f"{name}: given {template!r}, expected {expected}")
    return Hypotheses(labels=names, template=template)
