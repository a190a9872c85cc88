"""`runwright predict`: predictions of a run's best model, or one by name, for texts, stdin or a file."""

import argparse
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from runwright.cli import flags

USAGE = "runwright predict [options] RUN [TEXT ...]"
EXAMPLES = """examples:
  runwright predict latest "What a film!" "Never again."
  runwright predict latest:vader --file reviews.csv --text-column review \\
      --output scored.csv
  runwright predict latest --all-scores < lines.txt > predictions.jsonl
  runwright predict latest:mnli --labels sport,politics,science \\
      "The rover has landed."
  runwright predict latest:stories "Once upon a time" --generation sample \\
      --set temperature=0.8 --set max_new_tokens=50
  runwright predict owner/name "What a film!"
  runwright predict ./my-model "Who wrote it?" "Ada wrote the letter." \\
      --task question_answering

Input: read as the run's own data were, with their separator, encoding, header
and columns; or as csv, tsv, jsonl, parquet or text where the ending says so. A
line of text is one text, or a pair with a tab between.
RUN is a folder, an id, latest or latest:NAME; or a model that is no run: a
folder, package:NAME/folder or a hub's owner/name."""

OUTPUT_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".html": "html"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, id, latest or latest:NAME; or a model")
    # With a default, or argparse says that they are required.
    add("texts", metavar="TEXT", nargs="*", default=[], help="texts; without any: --file or standard input")
    add("--file", metavar="FILE", help="records to predict; - is standard input")
    flags.add_reading_flags(parser)
    help_text = "column of the text in the input (twice for a pair); default: as in training"
    add("--text-column", metavar="NAME", action="append", help=help_text)
    help_text = "jsonl, csv or html; default: jsonl on standard output"
    add("--output", metavar="FILE", type=Path, help=help_text)
    add("--all-scores", action="store_true", help="the score of every class")
    add("--html", metavar="FILE", type=Path, help="a page with tags and answers marked")
    add("--logits", metavar="FILE", type=Path, help="raw outputs of the model, as an .npz file")
    add("--device", choices=("auto", "cpu", "cuda"), help="default: as in training")
    add("--num-processes", **flags.PROCESSES)
    help_text = "tags of names or words (simple, as in training), or of pieces (none)"
    add("--group", choices=("none", "simple"), help=help_text)
    add("--top-k", dest="top_k", metavar="N", type=int, help="tokens shown for each mask")
    help_text = "states in place of predictions: a vector for each token, or one for the text"
    add("--features", choices=("token", "pooled"), help=help_text)
    add("--layer", metavar="N", type=int, help="of --features; 0: embeddings, default: the last")
    flags.add_name_flags(parser)
    flags.add_zero_shot_flags(parser)
    group = flags.add_strategy_flags(parser, about="; one prompt is answered as it is read")
    group.add_argument("--chat", action="store_true", help="answer the lines of standard input as one talk")


def execute(args: argparse.Namespace) -> int:
    from runwright.errors import ConfigError
    from runwright.launch.worker import import_uncollected
    from runwright.store import PAGE, output_path

    of_rows = ("file", *flags.READING, "text_column")
    flags.refuse_beside(args, "texts", *of_rows)
    flags.refuse_beside(args, "html", "output")
    of_answers = ("output", "html", "logits", "all_scores", "top_k", "group", "features")
    flags.refuse_beside(args, "chat", "texts", *of_rows, *of_answers)
    args.output = args.html or args.output
    from runwright.inference.named import hypotheses_of

    hypotheses = hypotheses_of(args.labels, args.hypothesis)
    flags.require_at_least(args, top_k=1)
    source, overrides = flags.source_of(args), flags.generation_overrides(args)
    if (shares := flags.shares_work(args)) and (args.file in (None, "-") or not args.output or args.html):
        raise ConfigError("--num-processes: several processes take --file FILE and --output FILE")
    logits = args.logits and output_path(args.logits, endings=[".npz"], flag="--logits")
    endings = PAGE if args.html else OUTPUT_FORMATS
    output = args.output and output_path(args.output, endings=endings)
    by_ending = OUTPUT_FORMATS.get(args.output.suffix.lower(), "jsonl") if output else "jsonl"
    output_format = "html" if args.html else by_ending
    for text in filter(os.path.isfile, args.texts):
        print(f"{text} is a file: --file {text} reads it", file=sys.stderr)
    import_uncollected("runwright.inference.predict")
    from runwright.inference import predict, stream
    from runwright.inference.models import open_model
    from runwright.inference.parts import file_states, parts_folder

    run = open_model(source, overrides=overrides, device=args.device, hypotheses=hypotheses)
    if args.chat:
        stream.chat(run, sys.stdin, sys.stdout)
        return 0
    shown = ("--group", "by_piece", args.group == "none"), ("--top-k", "num_guesses", args.top_k)
    for flag, name, value in [each for each in shown if each[-1]]:
        if not hasattr(run.task, name):
            raise ConfigError(f"{flag}: given for a {type(run.task).__name__}, which has nothing of the kind")
        setattr(run.task, name, value)
    run = replace(run, text_columns=args.text_column)
    reading = {name: getattr(args, name) for name in flags.READING}
    records = predict.open_input(run, args.texts, args.file, reading=reading, output=output)
    if len(args.texts) == 1 and not (output or logits) and stream.writes_one_text(run):
        (record,) = records
        stream.print_text(run, stream.encoded(run, record), sys.stdout)
        return 0
    options = {"all_scores": args.all_scores or args.top_k is not None, "logits": logits}
    key: list[Any] = [str(item) for item in vars(args).items() if item[0] != "num_processes"]
    key += file_states(getattr(records, "files", ()))
    folders = parts_folder(output, run, *key) if shares and output else nullcontext()
    with folders as parts:
        options["parts"] = parts
        count = predict.write_predictions(run, records, output, output_format, **options)
    if not run.ranks.is_first:
        return 0
    if not count:
        print(f"{args.file or 'standard input'}: no row to predict", file=sys.stderr)
    elif args.output:
        print(f"{count:,} predictions in {args.output}", file=sys.stderr)
    return 0
