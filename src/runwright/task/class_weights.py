"""How much each class counts in the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from runwright.errors import ConfigError, DataError


def learn_class_weights(
    option: Literal["balanced"] | Mapping[str, float],
    labels: Sequence[int] | Sequence[Sequence[int]],
    *,
    names: Sequence[str],
    column: str,
) -> list[float]:
    """The weight of each class, [C], as given or from how often it occurs.

    `labels` are ids, one for each example, or for multi-label examples a list of them. Balanced weights are
    scikit-learn's N / (C n_c) for single labels, and negatives per positive for multi-label ones.
    """
    if isinstance(option, Mapping):
        unknown, missing = sorted(set(option) - set(names)), sorted(set(names) - set(option))
        if unknown or missing:
            raise ConfigError(
                f"task.class_weights: one weight for each class; unknown {unknown}, missing {missing}"
            )
        return [float(option[name]) for name in names]
    sets = [[label] if isinstance(label, int) else label for label in labels]
    single = all(isinstance(label, int) for label in labels)
    counts = Counter(label for ids in sets for label in ids)
    if empty := [name for index, name in enumerate(names) if not counts[index]]:
        raise DataError(f"class_weights=balanced, but no row has {empty}", split="train", column=column)
    total = len(labels)
    if single:
        return [total / (len(names) * counts[index]) for index in range(len(names))]
    return [(total - counts[index]) / counts[index] for index in range(len(names))]


def learn_tag_weights(
    option: Literal["balanced"] | Mapping[str, float],
    rows: Sequence[Sequence[int]],
    *,
    names: Sequence[str],
    column: str,
) -> list[float]:
    """The weight of each tag, [C]; `rows` are the tags of words.

    Balanced over the tags that occur: a scheme has some that may not, such as I- of names of one word. Their
    weight is 1, and nothing is weighed by it.
    """
    tags = [tag for row in rows for tag in row]
    if isinstance(option, Mapping):
        return learn_class_weights(option, tags, names=names, column=column)
    counts = Counter(tags)
    return [
        len(tags) / (len(counts) * counts[index]) if counts[index] else 1.0 for index in range(len(names))
    ]
