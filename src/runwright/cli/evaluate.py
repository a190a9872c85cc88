"""`runwright evaluate`: a run's best model on any split, or on other data."""

from __future__ import annotations

import argparse

from runwright.cli.flags import add_zero_shot_flags, hypotheses_of

USAGE = "runwright evaluate [options] RUN [group=option] [key=value]"
EXAMPLES = """examples:
  runwright evaluate latest  validation and test, as in training
  runwright evaluate latest --split test --split train
  runwright evaluate latest dataset=csv dataset.source.files.test=other.csv \\
      'metric=[accuracy,roc_auc]'
  runwright evaluate latest:mnli --labels-from-data dataset=csv \\
      dataset.source.files.test=topics.csv 'dataset.columns={premise:text}'

Overrides are put on top of the run's own. They may change dataset, metric,
generation, seed, seeds.data, and of the task how predictions are judged:
threshold, repair, aggregation, no_answer_threshold, max_answer_length, n_best,
normalization, misplaced_answers. All else is the run's. The run itself is not
changed:
results go to its evaluations/ folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, id, latest or latest:NAME")
    help_text = "may be repeated; default: all but train"
    parser.add_argument("--split", metavar="NAME", action="append", help=help_text)
    parser.add_argument("--logits", action="store_true", help="keep raw outputs: predictions/SPLIT.npz")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: as in training")
    add_zero_shot_flags(parser, from_data=True)


def execute(args: argparse.Namespace) -> int:
    from runwright.runs.folder import BEST_MODEL, resolve_run

    hypotheses = hypotheses_of(args)
    folder = resolve_run(args.run, needs=BEST_MODEL)
    from runwright.inference.evaluate import evaluate_run, show_results

    options = {"splits": args.split, "device": args.device, "allow_shadow": args.allow_shadow}
    results = evaluate_run(folder, args.overrides, hypotheses=hypotheses, logits=args.logits, **options)
    show_results(results)
    return 0
