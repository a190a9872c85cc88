"""Metrics of two answers that need no model, to stand beside a run's: the source, and its first sentences.

    python scripts/text_baselines.py experiment=po_fr dataset.source.folder=PATH
    python scripts/text_baselines.py --sentences 3 experiment=scitldr dataset.source.folder=PATH

Takes the overrides of `runwright train`, and judges the test split of the experiment with its metrics. Prints
each with its 95 % interval as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from runwright import build
from runwright.config.compose import compose_checked
from runwright.config.redaction import reveal
from runwright.errors import RunwrightError
from runwright.metric.bootstrap import bootstrap_interval
from runwright.task.generating import Texts


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for runwright train")
    parser.add_argument("--sentences", type=int, default=1, metavar="N", help="default: 1")
    args = parser.parse_intermixed_args()
    try:
        print(json.dumps(baselines(args.overrides, num_sentences=args.sentences)))
    except RunwrightError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")


def baselines(overrides: Sequence[str], *, num_sentences: int = 1) -> dict[str, Any]:
    """By answer and metric: value, low, high."""
    config = reveal(compose_checked(list(overrides)).config, but="tracker")
    prepared = build.prepare(config, cache_folder=None)
    task, rows = prepared.task, prepared.data.splits["test"]
    sources: list[str] = rows[task.text_columns[0]][:]  # pyright: ignore
    first = "first sentence" if num_sentences == 1 else f"first {num_sentences} sentences"
    answers = {"source": sources, first: [first_sentences(text, num_sentences) for text in sources]}
    results: dict[str, Any] = {"rows": len(rows)}
    for name, texts in answers.items():
        predictions = Texts(
            example_ids=np.array(rows["row_id"][:]),  # pyright: ignore
            predicted=np.array(texts, dtype=object),
            expected=np.fromiter(task.references(rows), dtype=object, count=len(rows)),
        )
        for metric, function in build.build_metrics(config).items():
            interval = bootstrap_interval(function, predictions, seed=config["seed"])
            numbers = (interval.value, interval.low, interval.high)
            results.setdefault(name, {})[metric] = [round(number, 4) for number in numbers]
    return results


def first_sentences(text: str, num_sentences: int) -> str:
    """The first sentences, one on a line, as ROUGE-Lsum takes them."""
    return "\n".join(re.split(r"(?<=[.!?])\s+", text.strip())[:num_sentences])


if __name__ == "__main__":
    main()
