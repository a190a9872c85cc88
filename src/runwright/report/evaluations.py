"""The evaluations of a training as a table of the log that grows by a line for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runwright.report.terminal import number_text

WIDTH = 62  # characters: what the time and level of a log line leave of 80
HEAD_EVERY = 20  # lines: who reads the end of a log need not look for the names
BEST = "  best"


class EvaluationTable:
    """Metrics of the split that chooses the best step: the choosing one, also of other splits, loss, others.

    What 80 columns have no room for is in the journal alone, as are metrics of groups.
    """

    def __init__(self, *, split: str, metric: str) -> None:
        self._split, self._metric, self._num_lines = split, metric, 0

    def lines(
        self, step: int, by_split: Mapping[str, Mapping[str, float]], *, is_best: bool
    ) -> Iterator[str]:
        """The line of one evaluation, after the head of the table where it is due."""
        of_split = by_split.get(self._split, {})
        values = {name: of_split[name] for name in (self._metric, "loss") if name in of_split}
        for split, metrics in by_split.items():
            if split != self._split and self._metric in metrics:
                values[f"{split.removeprefix(f'{self._split}_')}/{self._metric}"] = metrics[self._metric]
        values |= {name: value for name, value in of_split.items() if "/" not in name}
        head, line = f"{'step':>8}", f"{step:>8,}"
        for name, value in values.items():
            width = 2 + max(8, len(name))
            if len(head) + width <= WIDTH - len(BEST):
                head, line = f"{head}{name:>{width}}", f"{line}{number_text(value):>{width}}"
        if self._num_lines == 0:
            yield f"evaluations of {self._split}:"
        if self._num_lines % HEAD_EVERY == 0:
            yield head
        self._num_lines += 1
        yield line + (BEST if is_best else "")
