"""Rules about data sets that are more than a line of the table; keys are those of a node."""

from __future__ import annotations

import re
from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.makers import Mistakes, as_dict, as_list, exactly_one, is_number, signature_of
from runwright.errors import Mistake, did_you_mean, listed, shown

MIX = "runwright.dataset.combine.mix"
COMBINATIONS = ("runwright.dataset.combine.concat", MIX)
STREAM = "dataset.streaming=true"
_WEIGHTED = exactly_one(
    "weights", "temperature", expected="weights, or a temperature (1: in proportion to the sizes)"
)


def combination_has_parts(target: Any, parts: Any) -> Mistakes:
    if target not in COMBINATIONS:
        return
    if not parts:
        hint = "as in +dataset@dataset.source.parts.<name>=<option>"
        yield Mistake(key="parts", given="no parts", expected="at least one data set", hint=hint)
    for name, part in as_dict(parts).items():
        if TARGET not in as_dict(part):
            given = "a mapping without _target_" if isinstance(part, dict) else shown(part)
            yield Mistake(key=f"parts.{name}", given=given, expected="the node of a data set")


def mixture_is_weighted(target: Any, parts: Any, weights: Any, temperature: Any) -> Mistakes:
    names = list(as_dict(parts))
    if target != MIX:
        return
    yield from _WEIGHTED.check(weights, temperature)
    if isinstance(weights, dict):
        for name in [name for name in weights if name not in names]:
            hint, expected = did_you_mean(name, names), f"one of {listed(names)}"
            yield Mistake(key=f"weights.{name}", given="a weight for no part", expected=expected, hint=hint)
        for name in [name for name in names if name not in weights]:
            yield Mistake(key=f"weights.{name}", given="nothing", expected="the weight of this part")


def nothing_is_held_out_of_a_mixture(source: Any, holdout: Any) -> Mistakes:
    for split, share in as_dict(holdout).items():
        if source == MIX and share:
            given = f"{shown(share)} of a mixture, which may hold a row twice"
            yield Mistake(key=f"holdout.{split}", given=given, expected="0", hint="hold out within the parts")


def holdout_leaves_something(holdout: Any) -> Mistakes:
    numbers = {split: share for split, share in as_dict(holdout).items() if is_number(share)}
    for split, share in numbers.items():
        if share < 0 or (share > 1 and share != int(share)):
            expected = "a share from 0 to below 1, or a whole number of rows"
            yield Mistake(key=f"holdout.{split}", given=shown(share), expected=expected)
    total = sum(share for share in numbers.values() if 0 < share < 1)
    if total >= 1:
        given = f"shares that sum to {total:g}"
        yield Mistake(key="holdout", given=given, expected="less than 1: something to train on")


def pattern_can_be_read(pattern: Any) -> Mistakes:
    try:
        re.compile(pattern if isinstance(pattern, str) else "")
    except re.error as error:
        yield Mistake(key="pattern", given=shown(pattern), expected=f"a regular expression ({error})")


def splits_have_plain_names(files: Any, splits: Any, holdout: Any, subset: Any) -> Mistakes:
    """Files are named after splits."""
    options = {"files": files, "splits": splits, "holdout": holdout, "subset": subset}
    named = [(option, split) for option, by_split in options.items() for split in as_dict(by_split)]
    for option, split in named:
        if not re.fullmatch(r"\w[\w-]{0,60}", str(split)):
            expected = "the name of a split: letters, digits, _ and -"
            yield Mistake(key=option, given=shown(split), expected=expected)


def source_can_be_streamed(streaming: Any, source: Any) -> Mistakes:
    signature = signature_of(source)
    if streaming is not True or signature is None or not signature.target.startswith("runwright.dataset."):
        return
    if "streaming" not in signature.options:
        given = f"true with {signature.target.rpartition('.')[2]}"
        expected = "false: csv, json, parquet, text and hub can be read as a stream"
        yield Mistake(key="dataset.streaming", given=given, expected=expected)
    elif source.get("streaming") is not True:
        given = f"{shown(source.get('streaming'))} with {STREAM}"
        expected = "true: set dataset.streaming alone"
        yield Mistake(key="dataset.source.streaming", given=given, expected=expected)
    elif source.get("field") is not None:
        given = f"{shown(source['field'])} with {STREAM}"
        expected = "null and JSON Lines: an object that holds the list can only be read as a whole"
        yield Mistake(key="dataset.source.field", given=given, expected=expected)


def nothing_is_held_out_of_a_stream(streaming: Any, holdout: Any, source: Any) -> Mistakes:
    option = "splits" if "splits" in as_dict(source) else "files"
    given = {**as_dict(as_dict(source).get("files")), **as_dict(as_dict(source).get("splits"))}
    for split, share in as_dict(holdout).items():
        if streaming is True and share and given.get(split) is None:
            yield Mistake(
                key=f"dataset.holdout.{split}",
                given=f"{shown(share)} with {STREAM}",
                expected="0, or a split of its own: a stream is not read before it is trained on",
                hint=f"dataset.source.{option}.{split}=…",
            )


def stream_is_cleaned_row_by_row(streaming: Any, cleaning: Any) -> Mistakes:
    for place, step in enumerate(as_list(cleaning) if streaming is True else ()):
        signature = signature_of(step)
        if signature is not None and signature.literals.get("row_wise") is not True:
            given = f"{str(step[TARGET]).rpartition('.')[2]} with {STREAM}"
            expected = "steps that look at one row at a time: classes with row_wise = True"
            yield Mistake(key=f"dataset.cleaning.{place}", given=given, expected=expected)


def chosen_titles_are_not_left_out(only: Any, exclude: Any) -> Mistakes:
    for split, titles in as_dict(only).items():
        excluded = as_list(as_dict(exclude).get(split))
        for title in [title for title in as_list(titles) if title in excluded][:1]:
            given = f"{title!r}, which only_titles.{split} has too"
            expected = "a title in one of the two"
            yield Mistake(key=f"dataset.source.exclude_titles.{split}", given=given, expected=expected)
