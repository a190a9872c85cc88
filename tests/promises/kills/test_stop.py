"""Fault 8: SIGTERM and Ctrl-C end a run after a whole step, with everything saved."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest

NUM_STEPS = 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_20_signals_lose_no_step(number: signal.Signals, make: Any, whole: Any) -> None:
    chance, num_stops = random.Random(number), 0
    for place in range(2):
        stopped = make(f"{number.name.lower()}-{place}", num_steps=NUM_STEPS)
        for first in range(0, NUM_STEPS - 20, 18):  # ten windows of 18 steps
            # After what is done already: before it, the signal would come while the process starts.
            step = max(first + chance.randint(1, 18), stopped.last_step() + 1 if first else 1)
            code, seconds = stopped.stop_after(step, chance.uniform(0, 0.02), number)
            assert code == 128 + number, stopped.output()[-3000:]
            assert seconds < 30
            assert stopped.status() == "KILLED"
            assert stopped.stored_in_mlflow()[0] == "KILLED"
            assert stopped.saved_step() == stopped.last_step() >= step
            assert f"{number.name} after step {stopped.last_step()}: saved" in stopped.output()
            num_stops += 1
        stopped.finish()
        stopped.check_same(whole(NUM_STEPS))
    assert num_stops == 20
