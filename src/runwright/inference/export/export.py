"""Export a run's best model, or one by name; the folder is kept where its answers are the model's."""

import copy
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jinja2 import Template

from runwright.config.folders import find_conf_folders
from runwright.errors import CheckpointError, ConfigError, RunwrightError, listed
from runwright.inference.export.gate import Row, compare, show
from runwright.inference.export.graphs import Program, write_graphs
from runwright.inference.load import FinishedRun, load_run
from runwright.inference.models import DTYPES, UNUSED, load_named
from runwright.inference.named import Named
from runwright.runs import folder as folders
from runwright.runs.data_identity import DATA_FILE
from runwright.runs.outputs import write_model
from runwright.store import folder_whole, write_json, write_text
from runwright.trainer.ranks import start_ranks

WEIGHTS = ("*.onnx", "*.onnx.data", "*.safetensors", "*.pt2")


def export(
    source: Path | Named,
    output: Path | None = None,
    *,
    form: Literal["onnx", "safetensors", "torch"] = "onnx",
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32",
    opset: int | None = None,
) -> Path:
    """Write the export and print how it compares; its folder.

    Raises ConfigError for a model that cannot be exported, RunwrightError where answers differ; removes both.
    """
    limits, folder = _limits(precision), source if isinstance(source, Path) else None
    home = folder / "exports" if folder else Path("outputs", "exports", Path(source.name).name)
    default = home / (form if precision == "fp32" else f"{form}_{precision}")
    output = output or default
    is_there = output.is_file() or (output.is_dir() and any(output.iterdir()))
    is_export = output == default and (output / folders.EXPORT_FILE).is_file()
    if is_there and (not is_export or (output / "evaluations").is_dir()):
        problem = f"given {str(output)!r}, which is there already"
        raise ConfigError(f"--output: {problem}, expected a new or empty folder; move the earlier one away")
    if isinstance(source, Path):
        run = load_run(source, device="cpu")
    else:
        run = load_named(source, [], device="cpu", idle=UNUSED)
    # Where training rounded to 16 bits, neither side does here.
    run = replace(run, model=run.model.float(), ranks=start_ranks("cpu"))
    about: dict[str, Any] = {"source": str(run.folder), "format": form, "precision": precision}
    about |= {"limits": limits, "decoding": dict(run.decoding)}
    try:
        with folder_whole(output) as unfinished:
            exported = _write_model(run, folder, unfinished, about, opset)
            rows = _check(run, exported, folder, about)
            write_json(unfinished / folders.EXPORT_FILE, about)
            _write_card(run, folder, unfinished, about, rows)
            folders.update_status(unfinished, "FINISHED", files=folders.checksums(unfinished))
    finally:
        with suppress(OSError):  # it is not empty
            home.rmdir()
    if is_there:
        print(f"replaced: the earlier export in {output}")
    return output


def _limits(precision: str) -> dict[str, float]:
    """The limits of a precision; a file of the project comes first."""
    file = find_conf_folders().find("export.yaml")
    assert file is not None  # it is shipped
    names = "metric", "agreement", "outputs"
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))[precision]
        return {name: float(values[name]) for name in names}
    except (LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: expected {listed(names)} of {precision}, as numbers") from error


def _write_model(
    run: FinishedRun, source: Path | None, folder: Path, about: dict[str, Any], opset: int | None
) -> FinishedRun:
    """Write the model with all that it needs, and read it again; `about` gets what that takes."""
    form, precision, model = about["format"], about["precision"], run.model
    if form == "safetensors":
        model = copy.deepcopy(model).to(getattr(torch, DTYPES[precision]))
    else:
        about |= write_graphs(run, folder, form=form, opset=opset, int8=precision == "int8")
    write_model(folder, model, run.tokenizer, task=run.task, weights=form == "safetensors")
    write_json(folder / folders.EXPORT_FILE, about)
    _write_origin(run, source, folder)
    if form == "torch":
        program = Program(folder / "model.pt2", about["outputs"])
        return replace(run, folder=folder, model=program, speed=copy.copy(run.speed))
    try:
        exported = load_run(folder, device="cpu")
    except CheckpointError as error:
        raise ConfigError(f"runwright export: what was written cannot be used: {error.__cause__}") from error
    return replace(exported, ranks=run.ranks)


def _check(run: FinishedRun, exported: FinishedRun, source: Path | None, about: dict[str, Any]) -> list[Row]:
    """The comparison, printed and added to `about`; raises RunwrightError where the answers are others."""
    rows = compare(run, exported, source, limits=about["limits"], exact=about["precision"] == "fp32")
    speeds = run.speed, exported.speed
    files = [file for pattern in WEIGHTS for file in exported.folder.glob(pattern)]
    sizes = sum(p.nbytes for p in run.model.parameters()), sum(file.stat().st_size for file in files)
    show(rows, speeds, sizes)
    if any(row.passed is False for row in rows) or not any(row.passed for row in rows):
        names = listed([row.name for row in rows if row.passed is False]) or "nothing to compare"
        problem = f"runwright export: beyond the tolerance: {names}; nothing is left of it"
        raise RunwrightError(f"{problem}. conf/export.yaml says what is allowed")
    rates = [one.samples_per_second if one.seconds else None for one in speeds]
    about |= {"compared": [row._asdict() for row in rows], "samples_per_second": rates, "bytes": sizes}
    return rows


def _write_origin(run: FinishedRun, source: Path | None, folder: Path) -> None:
    """Write what makes it a run's folder: configuration, what the task learned, a record."""
    write_json(folder / "task.json", run.task.state_dict())
    record: dict[str, Any] = {"name": "export", "overrides": [], "start_time": time.time()}
    if source is None:
        folders.write_config(folder, {"name": "export", "output_dir": "outputs", **run.config})
    else:
        record = folders.read_run(source)
        for name in (folders.CONFIG_FILE, folders.OVERRIDES_FILE, DATA_FILE):
            with suppress(FileNotFoundError):
                (folder / name).write_bytes((source / name).read_bytes())
    record |= {"format": folders.FORMAT, "run_id": uuid.uuid4().hex, "status": "FINISHED"}
    write_json(folder / folders.RUN_FILE, record)


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
