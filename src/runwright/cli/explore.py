"""`runwright explore`: statistics of a data set before training."""

import argparse
from pathlib import Path

USAGE = "runwright explore [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright explore  the defaults of conf/train.yaml
  runwright explore experiment=vader
  runwright explore dataset=csv dataset.source.files.train=reviews.csv \\
      task.text_column=review

Rows are those of a run: after cleaning, with its held-out splits. Looked at:
lengths, what max_length cuts, what the tokenizer does not know, classes,
columns that look like ids, rows that come twice or in two splits, equal texts
with different labels, and texts that are empty, garbled or full of
markup."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "the page; default: outputs/explore/<dataset>.html"
    parser.add_argument("--output", metavar="FILE", type=Path, help=help_text)


def execute(args: argparse.Namespace) -> int:
    from runwright.store import PAGE, output_path

    output = args.output and output_path(args.output, endings=PAGE)
    from runwright.analysis.explore.show import explore_config

    explore_config(args.overrides, output=output)
    return 0
