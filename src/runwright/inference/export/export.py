"""Export a run's best model, or one by name; the folder is kept where its answers are the model's."""

from __future__ import annotations

import copy
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jinja2 import Template

from runwright.config.folders import find_conf_folders
from runwright.errors import ConfigError, RunwrightError, listed
from runwright.inference.export.gate import Row, compare, show
from runwright.inference.export.graphs import quantize, write_graphs
from runwright.inference.load import FinishedRun, load_run
from runwright.inference.models import DTYPES, UNUSED, load_named
from runwright.inference.named import Named
from runwright.model.configuration import quiet_transformers
from runwright.runs import folder as folders
from runwright.runs.data_identity import DATA_FILE
from runwright.store import folder_whole, write_json, write_text
from runwright.trainer.ranks import start_ranks

WEIGHTS = ("*.onnx", "*.onnx.data", "*.safetensors", "*.pt2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to write; `tolerance` stands instead of that in conf/export.yaml."""

    form: Literal["onnx", "safetensors", "torch"] = "onnx"
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    opset: int | None = None
    tolerance: float | None = None

    @property
    def name(self) -> str:
        return self.form if self.precision == "fp32" else f"{self.form}_{self.precision}"

    def limits(self) -> dict[str, float]:
        """Tolerance and agreement of the precision; a file of the project comes first."""
        files = [folder / "export.yaml" for folder in find_conf_folders().in_order]
        file = next(filter(Path.is_file, files))
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))[self.precision]
            limits = {name: float(values[name]) for name in ("tolerance", "agreement")}
        except (LookupError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{file}: expected a tolerance and an agreement of {self.precision}") from error
        return limits if self.tolerance is None else limits | {"tolerance": self.tolerance}


def export(source: Path | Named, output: Path | None, wanted: Wanted) -> Path:
    """Write the export and print how it compares; its folder.

    Raises ConfigError for a model that cannot be exported, RunwrightError for an export whose answers are
    others; nothing is left of either.
    """
    limits, folder = wanted.limits(), source if isinstance(source, Path) else None
    home = folder / "exports" if folder else Path("outputs", "exports", Path(source.name).name)
    output = output or home / wanted.name
    is_other = output.exists() and not (output / folders.EXPORT_FILE).is_file()
    if is_other and (output.is_file() or any(output.iterdir())):
        raise ConfigError(f"--output: given {str(output)!r}, which is no export; expected a new folder")
    if isinstance(source, Path):
        run = load_run(source, device="cpu")
    else:
        run = load_named(source, [], device="cpu", idle=UNUSED)
    run = replace(run, model=run.model.float())
    try:
        with folder_whole(output) as unfinished:
            _write_checked(run, folder, unfinished, wanted, limits)
    finally:
        with suppress(OSError):  # it is not empty
            home.rmdir()
    return output


def _write_checked(
    run: FinishedRun, source: Path | None, folder: Path, wanted: Wanted, limits: dict[str, float]
) -> None:
    """Write all files; raises RunwrightError where the answers are others."""
    about: dict[str, Any] = {"source": str(run.folder), "format": wanted.form, "precision": wanted.precision}
    about |= _write_model(run, folder, wanted)
    write_json(folder / folders.EXPORT_FILE, about)
    _write_origin(run, source, folder)
    exported = load_run(folder, device="cpu", trusted=True)
    # Where training rounded to 16 bits, neither side does here. Processes share one precision: the last.
    ranks = start_ranks("cpu")
    run, exported = replace(run, ranks=ranks), replace(exported, ranks=ranks)
    rows, speeds = compare(run, exported, source, **limits), (run.speed, exported.speed)
    files = [file for pattern in WEIGHTS for file in folder.glob(pattern)]
    sizes = sum(p.nbytes for p in run.model.parameters()), sum(file.stat().st_size for file in files)
    show(rows, speeds, sizes)
    if not rows or any(row.passed is False for row in rows):
        names = listed([row.name for row in rows if row.passed is False]) or "nothing to compare"
        raise RunwrightError(
            f"runwright export: beyond the tolerance of {limits['tolerance']:g}: {names}; nothing is left of "
            "it. --tolerance and conf/export.yaml say what is allowed"
        )
    about["compared"] = [row._asdict() for row in rows]
    about["samples_per_second"] = [one.num_samples / one.seconds if one.seconds else None for one in speeds]
    write_json(folder / folders.EXPORT_FILE, about | {"bytes": sizes})
    _write_card(run, source, folder, about, rows)


def _write_model(run: FinishedRun, folder: Path, wanted: Wanted) -> dict[str, Any]:
    """Write the model with its configuration and tokenizer; what is to be known to load it."""
    model: Any = run.model
    about: dict[str, Any] = {}
    if wanted.form == "safetensors":
        saved = copy.deepcopy(model).to(getattr(torch, DTYPES[wanted.precision]))
        with quiet_transformers():
            saved.save_pretrained(folder)
        for path, text in run.task.model_files(saved).items():
            (folder / path).parent.mkdir(exist_ok=True)
            write_text(folder / path, text)
    else:
        about = write_graphs(run, folder, form=wanted.form, opset=wanted.opset)
        model.config.save_pretrained(folder)
        if wanted.precision == "int8":
            quantize(folder)
    run.tokenizer.save_pretrained(folder)
    if run.task.generates:
        strategy = run.task.strategy
        own = strategy.to_config(model, run.tokenizer) if strategy else model.generation_config
        own.save_pretrained(folder)
    return about


def _write_origin(run: FinishedRun, source: Path | None, folder: Path) -> None:
    """Write what makes it a run's folder: configuration, what the task learned, a record."""
    write_json(folder / "task.json", run.task.state_dict())
    record: dict[str, Any] = {"name": "export", "overrides": []}
    if source is None:
        folders.write_config(folder, {"name": "export", "output_dir": "outputs", **run.config})
    else:
        record = folders.read_run(source)
        for name in (folders.CONFIG_FILE, folders.OVERRIDES_FILE, DATA_FILE):
            with suppress(FileNotFoundError):
                (folder / name).write_bytes((source / name).read_bytes())
    record |= {"format": folders.FORMAT, "run_id": uuid.uuid4().hex, "status": "FINISHED"}
    write_json(folder / folders.RUN_FILE, record | {"start_time": time.time()})


def _write_card(
    run: FinishedRun, source: Path | None, folder: Path, about: dict[str, Any], rows: list[Row]
) -> None:
    """Write README.md, behind the run's card where it has one, and example.py, which needs no Runwright."""
    model: Any = run.model
    ends = model.generation_config.eos_token_id if run.task.generates else None
    values = {"about": about, "rows": rows, "task": run.task, "model": model, "ends": ends}
    card = source and source / "best" / "README.md"
    for name in ("README.md", "example.py"):
        template = Path(__file__).parent / "templates" / f"{name}.jinja"
        options: dict[str, Any] = {"trim_blocks": True, "keep_trailing_newline": True}
        text = Template(template.read_text(encoding="utf-8"), **options).render(values)
        if name == "README.md" and card and card.is_file():
            text = f"{card.read_text(encoding='utf-8').rstrip()}\n\n{text}"
        write_text(folder / name, text)
