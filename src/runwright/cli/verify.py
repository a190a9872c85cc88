"""`runwright verify`: whether the numbers of an experiment depend on how it is executed."""

from __future__ import annotations

import argparse

from runwright.cli.flags import add_permission_flags, grant_permissions

SUMMARY = "Show that an experiment's numbers do not depend on how it is executed, on a short version of it."
CHECKS = {
    "parity": "loss and gradient of a batch, cut in several ways and shared by several processes",
    "evaluation": "figures with other batches and on several processes, each example once",
    "resume": "a run that is killed at random moments and resumed, against an unbroken one",
}
EXAMPLES = """examples:
  runwright verify experiment=vader         all three
  runwright verify experiment=vader parity  loss and gradient only
  runwright verify vader_classes optimizer=sgd resume --kills 5
  runwright verify model=mine.Model --allow-package mine

checks:
{checks}

An experiment may be named alone. Nothing is written but a temporary folder,
which stays where something does not hold. Exit code 0: everything holds; 1:
something does not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.usage = "runwright verify [options] [EXPERIMENT] [CHECK ...] [group=option] [key=value]"
    width = max(map(len, CHECKS))
    parser.epilog = EXAMPLES.format(checks="\n".join(f"  {name:<{width}}  {CHECKS[name]}" for name in CHECKS))
    parser.add_argument("--steps", type=int, default=20, help="of each short run of resume (default: 20)")
    parser.add_argument("--kills", type=int, default=2, help="of the run that resume kills (default: 2)")
    parser.add_argument("--rows", type=int, default=64, help="that are evaluated (default: 64)")
    parser.add_argument(
        "--processes",
        type=int,
        help="that share a batch (default: launch.num_processes, at least 2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default: 0)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder in any case")
    add_permission_flags(parser)


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Verify and show a table."""
    grant_permissions(args)
    _check_numbers(args)
    words = [text for text in overrides if "=" not in text and not text.startswith("~")]
    chosen = [text for text in words if text in CHECKS]
    named = [text for text in words if text not in CHECKS]
    values = [f"experiment={named[0]}"] if named else []
    values += [text for text in overrides if text not in words]
    if len(named) > 1:
        _refuse(named)
    from runwright.analysis.verify.verify import verify

    findings = verify(
        values,
        checks=chosen or list(CHECKS),
        num_steps=args.steps,
        num_kills=args.kills,
        num_rows=args.rows,
        num_processes=args.processes,
        seed=args.seed,
        keep=args.keep,
        allow_shadow=args.allow_shadow,
    )
    return 1 if any(finding.verdict == "fails" for finding in findings) else 0


def _check_numbers(args: argparse.Namespace) -> None:
    from runwright.errors import ConfigError

    # 10 steps: checkpoints, an evaluation and room for a kill before the end
    least = {"steps": 10, "kills": 1, "rows": 1, "processes": 1}
    for name, bound in least.items():
        value = getattr(args, name)
        if value is not None and value < bound:
            raise ConfigError(f"--{name}: given {value}, expected at least {bound}")


def _refuse(words: list[str]) -> None:
    from runwright.errors import ConfigError, did_you_mean

    hint = next(filter(None, (did_you_mean(word, CHECKS) for word in words)), "")
    raise ConfigError(
        f"runwright verify: given {' and '.join(map(repr, words))}, expected one experiment and any of the "
        f"checks {', '.join(CHECKS)}; {hint}".rstrip("; ")
    )
