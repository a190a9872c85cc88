"""What the data looks like to the model: text lengths and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from runwright.report.canvas import (
    GREY,
    colour,
    draw_shares,
    legend,
    names_that_fit,
    new_figure,
    plain,
    save,
    title,
    write_ticks,
)

MAX_CLASSES = 40
MAX_BINS = 60


def plot_lengths(path: Path, lengths: Mapping[str, np.ndarray], *, max_length: int | None = None) -> Path:
    """Histogram of tokens per text before truncation, by split, and what `max_length` cuts off."""
    everything = np.concatenate([np.asarray(values) for values in lengths.values()])
    figure, (axes,) = new_figure(height=3.8)
    longest = int(np.quantile(everything, 0.995)) if len(everything) else 1
    right = max(longest, round(1.15 * max_length) if max_length and everything.max() > max_length else 0, 8)
    bins = np.arange(0.5, right + 1.5, max(1, round(right / 40))).tolist()
    for index, (split, values) in enumerate(lengths.items()):
        if len(values):
            label = f"{plain(split)} ({len(values):,}, median {np.median(values):.0f})"
            draw_shares(axes, values, bins=bins, index=index, label=label)
    about = f"longest {everything.max():,} tokens" if len(everything) else "no texts"
    if max_length is not None and len(everything):
        over = everything > max_length
        lost = np.maximum(everything - max_length, 0).sum() / everything.sum()
        about += f"; cut at {max_length}: {over.mean():.2%} of texts, {lost:.2%} of tokens lost"
        if right >= max_length:
            axes.axvline(
                max_length, color=GREY, linestyle="--", linewidth=1.5, label=f"max_length {max_length}"
            )
    title(axes, "Text lengths", below=about)
    axes.set_xlabel("tokens", fontsize=10)
    axes.set_ylabel("% of texts", fontsize=10)
    axes.set_xlim(0, right)
    write_ticks(axes.xaxis, ",.0f")
    legend(axes)
    return save(figure, path)


def plot_classes(path: Path, counts: Mapping[str, Sequence[int]], labels: Sequence[str]) -> Path:
    """Share of each class in each split; the rarest are summed up where there are very many classes."""
    splits = list(counts)
    table = np.array([list(counts[split]) for split in splits], dtype=float).reshape(len(splits), len(labels))
    order = np.argsort(-table.sum(axis=0), kind="stable")
    shown, rest = order[:MAX_CLASSES], order[MAX_CLASSES:]
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1)
    shares = 100 * table / totals
    height = max(2.4, 1.4 + len(shown) * max(0.22, 0.13 * len(splits)))
    figure, (axes,) = new_figure(width=8, height=height)
    places = np.arange(len(shown))
    thickness = 0.8 / max(len(splits), 1)
    for index, split in enumerate(splits):
        offset = (index - (len(splits) - 1) / 2) * thickness
        label = f"{plain(split)} ({int(table[index].sum()):,})"
        axes.barh(places + offset, shares[index, shown], height=thickness, color=colour(index), label=label)
    axes.set_yticks(places, names_that_fit([labels[int(place)] for place in shown], longest=30), fontsize=9)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("% of labels", fontsize=10)
    rarest = int(order[-1])
    about = (
        f"{len(labels)} classes, rarest {plain(labels[rarest], longest=30)}: {int(table[:, rarest].sum())}"
    )
    if len(rest):
        about += f"; the {len(rest)} rarest not drawn"
    axes.set_xlim(0, 1.25 * shares[:, shown].max(initial=1))  # room for the legend beside the short bars
    title(axes, "Classes", below=about)
    legend(axes, loc="lower right")
    return save(figure, path)


def data_numbers(
    lengths: Mapping[str, np.ndarray],
    *,
    max_length: int | None,
    class_counts: Mapping[str, Sequence[int]],
    labels: Sequence[str],
) -> dict[str, object]:
    """What the plots of the data show, as numbers: for pages that draw them again."""
    known = {split: np.asarray(values) for split, values in lengths.items() if len(values)}
    everything = np.concatenate(list(known.values())) if known else np.zeros(0, dtype=np.int64)
    right = int(np.quantile(everything, 0.995)) + 1 if len(everything) else 1
    width = max(1, -(-right // MAX_BINS))
    edges = np.arange(0, right + width, width)
    return {
        "lengths": {
            split: {
                "edges": edges.tolist(),
                "counts": np.histogram(values, edges)[0].tolist(),
                "num": len(values),
                "num_over": int((values > max_length).sum()) if max_length else 0,
                "median": float(np.median(values)),
                "longest": int(values.max()),
            }
            for split, values in known.items()
        },
        "max_length": max_length,
        "classes": {split: [int(count) for count in counts] for split, counts in class_counts.items()},
        "labels": list(labels),
    }
