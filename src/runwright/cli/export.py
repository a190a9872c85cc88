"""`runwright export`: a model as ONNX, safetensors or a program of torch, once it gives the same answers."""

import argparse
from pathlib import Path

from runwright.cli.flags import require_at_least
from runwright.errors import ConfigError

USAGE = "runwright export [options] RUN"
EXAMPLES = """examples:
  runwright export latest                     ONNX, in the run's exports/onnx
  runwright export latest:vader --quantize int8 --output ./vader-int8
  runwright export latest --format safetensors --dtype bf16
  runwright export ./bert-base-cased --task feature-extraction
  runwright predict ./vader-int8 "What a film!"

The export runs on the split that the run's best step was chosen by, beside the
model in PyTorch. Where metrics, or predictions, differ by more than
conf/export.yaml allows, nothing is left of it and the exit code is not 0. A
model that is no run has no data: its outputs for some texts are compared.
The folder has the model, its tokenizer and settings, README.md and example.py,
which needs no Runwright. predict, evaluate, search and serve take it like a
run. RUN is a run, or a model as `runwright predict` takes it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, id, latest or latest:NAME; or a model")
    help_text = "of a model by name: a name of conf/task, or of transformers' pipelines"
    add("--task", metavar="TASK", help=help_text)
    add("--format", dest="form", choices=("onnx", "safetensors", "torch"), default="onnx")
    add("--quantize", choices=("int8",), help="onnx: weights as int8, a scale for each channel")
    add("--dtype", choices=("fp32", "fp16", "bf16"), default="fp32", help="of safetensors (default: fp32)")
    add("--opset", metavar="N", type=int, help="of ONNX; default: that of torch's exporter")
    help_text = "a new or empty folder; default: exports/ of the run, or outputs/exports/NAME"
    add("--output", metavar="FOLDER", type=Path, help=help_text)


def execute(args: argparse.Namespace) -> int:
    forms = {"--quantize": (args.quantize, "onnx"), "--opset": (args.opset, "onnx")}
    forms["--dtype"] = args.dtype != "fp32", "safetensors"
    for flag, (value, form) in forms.items():
        if value and args.form != form:
            raise ConfigError(f"{flag}: given with --format {args.form}, expected --format {form}")
    require_at_least(args, opset=18)
    from runwright.inference.named import Named, find_model
    from runwright.store import output_path

    source = find_model(Named(name=args.run, task=args.task))
    output = args.output and output_path(args.output, is_folder=True)
    from runwright.inference.export.export import export

    print(export(source, output, form=args.form, precision=args.quantize or args.dtype, opset=args.opset))
    return 0
