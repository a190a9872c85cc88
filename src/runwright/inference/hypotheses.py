"""How a run of pairs is asked for classes that it was not trained on: the flags of it, checked."""

from __future__ import annotations

from dataclasses import dataclass

HYPOTHESIS = "This text is about {}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypotheses:
    """How classes are asked for."""

    labels: tuple[str, ...]  # empty: those of the data
    template: str  # {} stands for the class
    multi_label: bool
