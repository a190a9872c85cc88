"""Our loop with a checkpoint every 50 steps against the same without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks.setting import Setting, run_loop

SAVE_EVERY = 50


def checkpoint_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """The loop with a checkpoint every 50 steps, and with one at the end only."""
    longer = replace(setting, steps=max(setting.steps, 2 * SAVE_EVERY + 1))
    return lambda: run_loop(longer, save_every=SAVE_EVERY)[0], lambda: run_loop(longer)[0]
