"""Hypotheses that ask a run of pairs for classes that it was not trained on: the flags, checked."""

from __future__ import annotations

from dataclasses import dataclass

HYPOTHESIS = "This text is about {}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypotheses:
    """Classes, and the sentence that says one of a text."""

    labels: tuple[str, ...]  # empty: those of the data
    template: str  # {} stands for the class
    multi_label: bool
