"""A decoder: documents apart without padding, the same padded, and joined into full blocks."""

from __future__ import annotations

from functools import partial

from benchmarks import training
from benchmarks.setting import Setting, interleave, prepare


def measure_decoder(overrides: list[str], steps: int, repeats: int) -> dict[str, list[float]]:
    """Tokens a second of each, and how many times as fast ours is on documents apart, repeat by repeat."""
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
    rates = {
        name: [_num_tokens(loops[name][0]) / each for each in seconds]
        for name, seconds in interleave(runs, repeats=repeats).items()
    }
    measured = {f"{name}: tokens/s": values for name, values in rates.items()}
    for name, values in rates.items():
        if name != "ours":
            measured[f"ours ÷ {name} ratio"] = [a / b for a, b in zip(rates["ours"], values, strict=True)]
    return measured


def _seconds(loop: training.Contender, setting: Setting) -> float:
    seconds, _ = loop(setting)
    return seconds


def _num_tokens(setting: Setting) -> int:
    _, _, batches = setting.parts()
    return sum(batches.at(step).real_tokens for step in range(setting.steps))
