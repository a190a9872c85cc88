"""`runwright explore`: statistics of a data set before training."""

import argparse
from pathlib import Path

from runwright.cli.flags import require_at_least

USAGE = "runwright explore [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright explore  the defaults of conf/train.yaml
  runwright explore experiment=vader
  runwright explore dataset=csv dataset.source.files.train=reviews.csv \\
      task.text_column=review
  runwright explore experiment=vader_classes --output data.html

Rows are those of a run: after cleaning, with its held-out splits. Looked at:
lengths, what several max_length cut, what the tokenizer does not know, classes,
columns that look like ids, rows that come twice or in two splits, equal texts
with different labels, and texts that are empty, garbled or full of
markup."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    help_text = "the page; default: outputs/explore/<dataset>.html"
    add("--output", metavar="FILE", type=Path, help=help_text)
    add("--no-tokens", action="store_true", help="no tokenizer")
    help_text = "rows of each split whose tokens are counted, evenly from the whole (default: 20000)"
    add("--sample-rows", metavar="N", type=int, default=20_000, help=help_text)


def execute(args: argparse.Namespace) -> int:
    require_at_least(args, sample_rows=1)
    from runwright.store import PAGE, output_path

    output = args.output and output_path(args.output, endings=PAGE)
    from runwright.analysis.explore.show import explore_config

    explore_config(
        args.overrides,
        output=output,
        with_tokens=not args.no_tokens,
        token_rows=args.sample_rows,
        allow_shadow=args.allow_shadow,
    )
    return 0
