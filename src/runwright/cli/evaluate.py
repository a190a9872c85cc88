"""`runwright evaluate`: a run's best model, or one by name, on any split or on other data."""

import argparse

from runwright.cli import flags

USAGE = "runwright evaluate [options] RUN [group=option] [key=value]"
EXAMPLES = """examples:
  runwright evaluate latest  validation and test, as in training
  runwright evaluate latest --split test --split train
  runwright evaluate latest dataset=csv dataset.source.files.test=other.csv \\
      'metric=[accuracy,roc_auc]'
  runwright evaluate ./my-model \\
      dataset=csv dataset.source.files.test=reviews.csv

Overrides are put on top of the run's own. They may change dataset, metric,
generation, and of the task how predictions are judged: threshold,
no_answer_threshold, max_answer_length, n_best, normalization,
misplaced_answers, positive_label. All else is the run's. The run itself is not
changed: results go to its evaluations/ folder.
A model by name (folder, package:NAME/folder or a hub's owner/name) has no data:
overrides choose it, and whatever else; results go to outputs/evaluations/."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, id, latest or latest:NAME; or a model")
    help_text = "may be repeated; default: all but train"
    parser.add_argument("--split", metavar="NAME", action="append", help=help_text)
    parser.add_argument("--logits", action="store_true", help="keep raw outputs: predictions/SPLIT.npz")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: as in training")
    parser.add_argument("--num-processes", **flags.PROCESSES)
    flags.add_name_flags(parser)
    flags.add_zero_shot_flags(parser)


def execute(args: argparse.Namespace) -> int:
    from runwright.inference.named import hypotheses_of

    hypotheses = hypotheses_of(args.labels, args.hypothesis)
    source, shares = flags.source_of(args), flags.shares_work(args)
    from runwright.inference.evaluate import evaluate_run, show_results

    options = {"splits": args.split, "device": args.device, "hypotheses": hypotheses}
    options |= {"logits": args.logits, "in_parts": shares}
    if results := evaluate_run(source, args.overrides, **options):
        show_results(results)
    return 0
