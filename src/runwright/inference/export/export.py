"""Export a run's best model, or one by name; the folder is kept where its answers are the model's."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jinja2 import Template

from runwright.config.folders import find_conf_folders
from runwright.errors import ConfigError, RunwrightError, listed
from runwright.inference.export.gate import Limits, Row, compare, show
from runwright.inference.export.graphs import quantize, write_graphs
from runwright.inference.load import FinishedRun, load_run
from runwright.inference.models import UNUSED, load_named
from runwright.inference.named import Named
from runwright.model.configuration import quiet_transformers
from runwright.model.lora import merge_adapter
from runwright.runs.data_identity import DATA_FILE
from runwright.runs.folder import (
    CONFIG_FILE,
    EXPORT_FILE,
    FORMAT,
    OVERRIDES_FILE,
    RUN_FILE,
    read_run,
    write_config,
)
from runwright.runs.record import TASK_FILE
from runwright.store import folder_whole, write_json, write_text
from runwright.trainer.processes import start_ranks
from runwright.version import __version__

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WEIGHTS = ("*.onnx", "*.onnx.data", "*.safetensors", "*.pt2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to write; `tolerance` stands instead of that in conf/export.yaml."""

    form: Literal["onnx", "safetensors", "torch"] = "onnx"
    int8: bool = False
    dtype: str = "fp32"  # of safetensors
    opset: int | None = None
    tolerance: float | None = None

    @property
    def kind(self) -> str:
        """The name of its limits in conf/export.yaml."""
        return "int8" if self.int8 else "fp32" if self.dtype == "fp32" else "half"


def export(source: Path | Named, output: Path | None, wanted: Wanted) -> Path:
    """Write the export and print how it compares; its folder.

    Raises ConfigError for a model that cannot be exported, RunwrightError for an export whose answers are
    others; nothing is left of either.
    """
    kind = wanted.dtype if wanted.kind == "half" else wanted.kind
    name = wanted.form if kind == "fp32" else f"{wanted.form}_{kind}"
    if isinstance(source, Path):
        folder, home = source, source / "exports"
    else:
        folder, home = None, Path("outputs") / "exports" / Path(source.name).name
    output, limits = output or home / name, _limits(wanted)
    is_other = output.exists() and not (output / EXPORT_FILE).is_file()
    if is_other and (output.is_file() or any(output.iterdir())):
        raise ConfigError(f"--output: given {str(output)!r}, which is no export; expected a new folder")
    if isinstance(source, Path):
        run = load_run(source, device="cpu")
    else:
        run = load_named(source, [], device="cpu", idle=UNUSED)
    # Where training rounded to 16 bits, neither side does here.
    run = replace(run, ranks=start_ranks("cpu"), model=run.model.float())
    try:
        with folder_whole(output) as unfinished:
            _write_checked(run, folder, unfinished, wanted, limits)
    finally:
        with suppress(OSError):  # it is not empty
            home.rmdir()
    return output


def _write_checked(
    run: FinishedRun, source: Path | None, folder: Path, wanted: Wanted, limits: Limits
) -> None:
    """Write all files; raises RunwrightError where the answers are others."""
    about = _write(run, folder, wanted) | {"source": str(run.folder)}
    write_json(folder / EXPORT_FILE, about)
    _write_origin(run, source, folder)
    exported = replace(load_run(folder, device="cpu", trusted=True), ranks=run.ranks)
    rows = compare(run, exported, source, limits)
    files = [file for pattern in WEIGHTS for file in folder.glob(pattern)]
    sizes = sum(p.nbytes for p in run.model.parameters()), sum(file.stat().st_size for file in files)
    speeds = run.speed, exported.speed
    show(rows, speeds, sizes)
    if not rows or any(row.passed is False for row in rows):
        names = listed([row.name for row in rows if row.passed is False]) or "nothing to compare"
        raise RunwrightError(
            f"runwright export: beyond the tolerance of {limits.tolerance:g}: {names}; nothing is left of "
            "it. --tolerance and conf/export.yaml say what is allowed"
        )
    rates = [speed.num_samples / speed.seconds if speed.seconds else None for speed in speeds]
    about |= {"compared": [asdict(row) for row in rows], "samples_per_second": rates, "bytes": sizes}
    write_json(folder / EXPORT_FILE, about)
    _write_card(run, source, folder, wanted=wanted, about=about, rows=rows)


def _limits(wanted: Wanted) -> Limits:
    files = [folder / "export.yaml" for folder in find_conf_folders().in_order]
    file = next(filter(Path.is_file, files))
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))[wanted.kind]
        limits = Limits(**{name: float(value) for name, value in values.items()})
    except (LookupError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: expected numbers tolerance and agreement of {wanted.kind}") from error
    return limits if wanted.tolerance is None else replace(limits, tolerance=wanted.tolerance)


def _write(run: FinishedRun, folder: Path, wanted: Wanted) -> dict[str, Any]:
    """Write the model with its configuration and tokenizer; what is to be known to load it."""
    model: Any = merge_adapter(run.model)
    run = replace(run, model=model)
    about: dict[str, Any] = {"format": wanted.form, "quantize": "int8" if wanted.int8 else None}
    if wanted.form == "safetensors":
        half = model if wanted.dtype == "fp32" else copy.deepcopy(model).to(DTYPES[wanted.dtype])
        with quiet_transformers():
            half.save_pretrained(folder)
        for path, text in run.task.model_files(half).items():
            write_text(_parent(folder / path), text)
    else:
        about |= write_graphs(run, folder, form=wanted.form, opset=wanted.opset)
        model.config.save_pretrained(folder)
        if wanted.int8:
            quantize(folder)
    run.tokenizer.save_pretrained(folder)
    if run.task.generates:
        own = getattr(model, "generation_config", None)
        own = run.task.strategy.to_config(model, run.tokenizer) if run.task.strategy else own
        if own is not None:
            own.save_pretrained(folder)
    return about | {"versions": {"runwright": __version__, "torch": torch.__version__}}


def _write_origin(run: FinishedRun, source: Path | None, folder: Path) -> None:
    """Write what makes it a run's folder: configuration, what the task learned, a record."""
    write_json(folder / TASK_FILE, run.task.state_dict())
    record = {"format": FORMAT, "run_id": uuid.uuid4().hex, "status": "FINISHED", "start_time": time.time()}
    if source is None:
        write_config(folder, {"name": folder.name, "output_dir": "outputs", **run.config})
        record |= {"name": "export", "overrides": []}
    else:
        for name in (CONFIG_FILE, OVERRIDES_FILE, DATA_FILE):
            with suppress(FileNotFoundError):
                (folder / name).write_bytes((source / name).read_bytes())
        record = read_run(source) | record
    write_json(folder / RUN_FILE, record)


def _write_card(
    run: FinishedRun,
    source: Path | None,
    folder: Path,
    *,
    wanted: Wanted,
    about: Mapping[str, Any],
    rows: list[Row],
) -> None:
    """Write README.md, the run's own card where it has one, and example.py, which needs no Runwright."""
    model: Any = run.model
    task, two = run.task, model.config.is_encoder_decoder
    ends = getattr(model, "generation_config", None) and model.generation_config.eos_token_id
    shape = about.get("cache_shape") or [0, 0, 0]
    pair = ', "Who was it?"' if len(task.text_columns) > 1 else ""
    values: dict[str, Any] = {
        "title": f"{type(model).__name__} as {wanted.form}{' in int8' if wanted.int8 else ''}",
        "kind": task.problem if not task.generates else "seq2seq" if two else "decoder",
        "pair": pair,
        "pairs": pair and f", [{pair[2:]}] * 2",
        "prefix": getattr(task, "prefix", ""),
        "names": list(task.label_names),
        "heads": shape[1],
        "size": shape[2],
        "start": getattr(model.config, "decoder_start_token_id", None),
        "ends": ends if isinstance(ends, list) else [ends],
        "longest": task.max_target_length or 20,
    }
    values |= {"task": task, "rows": rows, "form": wanted.form, "model": model, "inputs": about.get("inputs")}
    templates = Path(__file__).parent / "templates"
    card = source and source / "best" / "README.md"
    text = Template((templates / "README.md.template").read_text(encoding="utf-8"), trim_blocks=True).render(
        values
    )
    if card and card.is_file():
        text = f"{card.read_text(encoding='utf-8').rstrip()}\n\n{text}"
    write_text(folder / "README.md", text)
    example = Template((templates / "example.py.template").read_text(encoding="utf-8"), trim_blocks=True)
    write_text(folder / "example.py", example.render(values))


def _parent(file: Path) -> Path:
    file.parent.mkdir(exist_ok=True, parents=True)
    return file
