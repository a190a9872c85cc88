"""How a run of pairs is asked for classes that it was not trained on: the flags of it, checked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from runwright.errors import ConfigError

HYPOTHESIS = "This text is about {}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypotheses:
    """How classes are asked for."""

    labels: tuple[str, ...]  # empty: those of the data
    template: str  # {} stands for the class
    multi_label: bool


def add_zero_shot_flags(parser: argparse.ArgumentParser, *, from_data: bool) -> None:
    """Flags of zero-shot classification; `from_data`: classes may come from labelled rows."""
    group = parser.add_argument_group("zero-shot classification, with a run of pairs such as MNLI's")
    group.add_argument("--labels", metavar="A,B,C", help="classes to choose from; the run need not know them")
    if from_data:
        group.add_argument("--labels-from-data", action="store_true", help="classes: the labels of the data")
    group.add_argument(
        "--hypothesis",
        metavar="SENTENCE",
        help=f"what a class says of a text, {{}} stands for the class; default: {HYPOTHESIS!r}",
    )
    group.add_argument(
        "--multi-label", action="store_true", help="none, one or several classes; default: exactly one"
    )


def hypotheses_of(args: argparse.Namespace) -> Hypotheses | None:
    """What the flags ask for; None without them. Raises ConfigError where they do not fit together."""
    from_data = getattr(args, "labels_from_data", False)
    if args.labels is None and not from_data:
        if args.hypothesis is not None or args.multi_label:
            flag = "--multi-label" if args.multi_label else "--hypothesis"
            raise ConfigError(f"{flag}: given without classes, expected --labels A,B,C as well")
        return None
    if args.labels is not None and from_data:
        raise ConfigError("--labels and --labels-from-data are both given; expected one of them")
    labels = tuple(part.strip() for part in (args.labels or "").split(",") if part.strip())
    needed = 1 if args.multi_label else 2
    if not from_data and (len(labels) < needed or len(set(labels)) < len(labels)):
        expected = f"{needed} or more different classes with commas between them"
        raise ConfigError(f"--labels: given {args.labels!r}, expected {expected}")
    template = args.hypothesis if args.hypothesis is not None else HYPOTHESIS
    if template.count("{}") != 1:
        raise ConfigError(f"--hypothesis: given {template!r}, expected a sentence with {{}} for the class")
    return Hypotheses(labels=labels, template=template, multi_label=args.multi_label)
