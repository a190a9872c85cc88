"""`runwright explore`: statistics of a data set before training."""

import argparse

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
    """None but overrides."""


def execute(args: argparse.Namespace) -> int:
    from runwright.analysis.explore.show import explore_config

    explore_config(args.overrides)
    return 0
