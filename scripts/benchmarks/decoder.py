"""A decoder: documents apart without padding, the same padded, and joined into full blocks."""

from __future__ import annotations

from functools import partial

from benchmarks import training
from benchmarks.setting import Setting, interleave, prepare


def measure_decoder(overrides: list[str], steps: int, repeats: int) -> dict[str, list[float]]:
    """Seconds for a token of each, ours of documents apart."""
    apart = prepare([*overrides, "task.join_rows=false"], steps=steps)
    joined = prepare([*overrides, "task.join_rows=true"], steps=steps)
    loops = {
        "ours": (apart, training.ours),
        "limit": (apart, training.limit),
        "padded loop": (apart, training.padded),
        "ours on full blocks": (joined, training.ours),
        "loop on full blocks": (joined, training.padded),
    }
    runs = {name: partial(_seconds, loop, setting) for name, (setting, loop) in loops.items()}
    return {
        name: [each / _num_tokens(loops[name][0]) for each in seconds]
        for name, seconds in interleave(runs, repeats=repeats).items()
    }


def _seconds(loop: training.Contender, setting: Setting) -> float:
    seconds, _ = loop(setting)
    return seconds


def _num_tokens(setting: Setting) -> int:
    _, _, batches = setting.parts()
    return sum(batches.at(step).real_tokens for step in range(setting.steps))
