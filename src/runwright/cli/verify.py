"""`runwright verify`: test that the numbers of an experiment do not depend on how it is executed."""

import argparse

from runwright.cli.flags import require_at_least
from runwright.errors import ConfigError, did_you_mean

CHECKS = ("parity", "evaluation", "resume")
USAGE = "runwright verify [options] [CHECK ...] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright verify experiment=vader         all three
  runwright verify experiment=vader parity  loss and gradient only
  runwright verify experiment=vader optimizer=sgd resume --steps 40

checks:
  parity      loss and gradient of a batch, cut in several ways
  evaluation  metrics with other batches, each example once
  resume      a run that is killed and resumed, against an unbroken one
parity and evaluation also compare one process with launch.num_processes, at
least 2.

Nothing is written but a temporary folder, which stays where something does not
hold. Exit code 0: everything holds; 1: something does not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "of each short run of resume (default: 20)"
    parser.add_argument("--steps", type=int, default=20, help=help_text)


def execute(args: argparse.Namespace) -> int:
    # 10 steps: checkpoints, an evaluation and room for kills before the end
    require_at_least(args, steps=10)
    words = [text for text in args.overrides if "=" not in text and not text.startswith("~")]
    if unknown := next((word for word in words if word not in CHECKS), None):
        hint = did_you_mean(unknown, CHECKS) or f"an experiment is experiment={unknown}"
        raise ConfigError(f"runwright verify: given {unknown!r}, expected any of {', '.join(CHECKS)}; {hint}")
    from runwright.analysis.verify.verify import verify

    overrides = [text for text in args.overrides if text not in words]
    findings = verify(overrides, checks=words or list(CHECKS), num_steps=args.steps)
    return 1 if any(finding.verdict == "fails" for finding in findings) else 0
