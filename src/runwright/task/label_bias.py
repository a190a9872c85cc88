"""Where an output layer should start: at what is known of the labels before any text is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

UNSEEN = 0.5  # added to each count, so that a class without a row has a finite logarithm


def bias_of_labels(problem: str, labels: Sequence[Any], *, num_classes: int) -> tuple[float, ...]:
    """Biases [C] with which a model that sees nothing else predicts the labels best.

    Logarithms of the shares of the classes, for multi-label examples the log-odds of each (as the prior of
    Lin et al. 2017, "Focal Loss for Dense Object Detection", 4.1), or the mean number.
    """
    total = len(labels)
    if problem == "regression":
        return (math.fsum(labels) / total,)
    counts = Counter(i for label in labels for i in (label if isinstance(label, list) else [label]))
    shares = [(counts[index] + UNSEEN) / (total + 2 * UNSEEN) for index in range(num_classes)]
    if problem == "single_label":
        return tuple(math.log(share) for share in shares)
    return tuple(math.log(share / (1 - share)) for share in shares)
