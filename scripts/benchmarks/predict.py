"""Seconds until one text is predicted, against the same model loaded by hand with transformers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

BY_HAND = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
with torch.inference_mode():
    print(model(**tokenizer("a text", return_tensors="pt")).logits.softmax(-1))
"""
SHORT = ["experiment=vader", "debug=five_steps", "tracker=console"]


def measure_predict(repeats: int) -> dict[str, list[float]]:
    """Wall seconds of both, in turn, and their ratio; one warm-up each."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "runwright", "train", *SHORT, f"output_dir={folder}"],
            check=True, capture_output=True,
        )  # fmt: skip
        (best,) = Path(folder).glob("*/*/best")
        commands = {
            "runwright predict": [sys.executable, "-m", "runwright", "predict", str(best.parent), "a text"],
            "by hand": [sys.executable, "-c", BY_HAND, str(best)],
        }
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats + 1):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                found[name].append(time.perf_counter() - began)
    found = {name: seconds[1:] for name, seconds in found.items()}
    ours, theirs = found.values()
    return found | {"ratio": [one / other for one, other in zip(ours, theirs, strict=True)]}
