"""Rules about data sets that are more than a line of the table; keys are those of a node."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from runwright.config.options import SPLITS, TARGET
from runwright.config.rules.makers import Mistakes, as_dict, as_list, at_most_one, is_number, signature_of
from runwright.errors import Mistake, did_you_mean, listed, shown

MIX = "runwright.dataset.combine.mix"
COMBINATIONS = ("runwright.dataset.combine.concat", MIX)
STREAM = "dataset.streaming=true"
_WEIGHTED = at_most_one(
    "weights", "temperature", none="weights, or a temperature (1: in proportion to the sizes)"
)


def combination_has_parts(target: Any, parts: Any) -> Mistakes:
    if target in COMBINATIONS and not parts:
        hint = "as in +dataset@dataset.source.parts.<name>=<option>"
        yield Mistake("parts", "no parts", "at least one data set", hint)


def mixture_is_weighted(target: Any, parts: Any, weights: Any, temperature: Any) -> Mistakes:
    names = list(as_dict(parts))
    if target != MIX:
        return
    yield from _WEIGHTED.check(weights, temperature)
    if isinstance(weights, dict):
        for name in [name for name in weights if name not in names]:
            hint, expected = did_you_mean(name, names), f"one of {listed(names)}"
            yield Mistake(f"weights.{name}", "a weight for no part", expected, hint)
        for name in [name for name in names if name not in weights]:
            yield Mistake(f"weights.{name}", "nothing", "the weight of this part")


def nothing_is_held_out_of_a_mixture(source: Any, holdout: Any) -> Mistakes:
    for split, share in as_dict(holdout).items():
        if source == MIX and share:
            problem = f"{shown(share)} of a mixture, which may hold a row twice"
            yield Mistake(f"holdout.{split}", problem, "0", "hold out within the parts")


def holdout_leaves_something(holdout: Any) -> Mistakes:
    numbers = {split: share for split, share in as_dict(holdout).items() if is_number(share)}
    for split, share in numbers.items():
        if share < 0 or (share > 1 and share != int(share)) or (share == 1 and isinstance(share, float)):
            expected = "a share from 0 to below 1, or a whole number of rows"
            yield Mistake(f"holdout.{split}", shown(share), expected)
    for split, file in as_dict(holdout).items():
        if isinstance(file, str) and not Path(os.path.expandvars(file)).expanduser().is_file():
            expected = "a share, a number of rows, or a file of ids that exists"
            yield Mistake(f"holdout.{split}", shown(file), expected)
    total = sum(share for share in numbers.values() if 0 < share < 1)
    if total >= 1:
        yield Mistake("holdout", f"shares that sum to {total:g}", "less than 1: something to train on")


def pattern_can_be_read(pattern: Any) -> Mistakes:
    try:
        re.compile(pattern if isinstance(pattern, str) else "")
    except re.error as error:
        yield Mistake("pattern", shown(pattern), f"a regular expression ({error})")


def splits_have_plain_names(files: Any, splits: Any, holdout: Any, subset: Any) -> Mistakes:
    """Files are named after splits."""
    options = {"files": files, "splits": splits, "holdout": holdout, "subset": subset}
    named = [(option, as_dict(each), split) for option, each in options.items() for split in as_dict(each)]
    for option, by_split, split in named:
        if not re.fullmatch(r"\w[\w-]{0,60}", str(split)):
            yield Mistake(option, shown(split), "the name of a split: letters, digits, _ and -")
        if split in SPLITS and by_split[split] is not None:
            hint = "the best step is chosen on validation" if SPLITS[split] == "validation" else ""
            yield Mistake(f"{option}.{split}", "a split of this name", f"the name {SPLITS[split]!r}", hint)
        names = as_list(by_split[split]) or [by_split[split]]
        if option == "files" and not all(str(name).strip() for name in names):
            yield Mistake(f"{option}.{split}", "an empty text", "a file, a pattern or a folder")


def nothing_is_held_out_of_a_stream(streaming: Any, holdout: Any, source: Any) -> Mistakes:
    option = "splits" if "splits" in as_dict(source) else "files"
    splits = {**as_dict(as_dict(source).get("files")), **as_dict(as_dict(source).get("splits"))}
    for split, share in as_dict(holdout).items():
        if streaming is True and share and splits.get(split) is None:
            problem, hint = f"{shown(share)} with {STREAM}", f"dataset.source.{option}.{split}=…"
            expected = "0, or a split of its own: a stream is not read before it is trained on"
            yield Mistake(f"dataset.holdout.{split}", problem, expected, hint)


def stream_is_cleaned_row_by_row(streaming: Any, cleaning: Any) -> Mistakes:
    for number, step in enumerate(as_list(cleaning) if streaming is True else ()):
        signature = signature_of(step)
        if signature is not None and signature.literals.get("row_wise") is not True:
            problem = f"{str(step[TARGET]).rpartition('.')[2]} with {STREAM}"
            expected = "steps that look at one row at a time: classes with row_wise = True"
            yield Mistake(f"dataset.cleaning.{number}", problem, expected)
