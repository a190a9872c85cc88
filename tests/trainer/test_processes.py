"""The one Accelerator of a process: it is what the run asked for, or an error."""

from __future__ import annotations

import pytest
import torch

from runwright.errors import ConfigError
from runwright.trainer.ranks import start_ranks


def test_each_run_in_a_process_has_the_precision_that_it_asks_for() -> None:
    state = torch.get_rng_state()
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        ranks = start_ranks("cpu", precision=precision)
        with ranks.autocast():
            assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype is dtype
        assert (ranks.device, ranks.num_ranks, ranks.scaler) == (torch.device("cpu"), 1, None)
    assert torch.equal(state, torch.get_rng_state())  # nothing was drawn


def test_a_device_that_accelerate_replaces_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.device: given 'xpu', but accelerate finds only"):
        start_ranks("xpu")
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    with pytest.raises(ConfigError, match=r"trainer\.device: given 'cpu', but accelerate finds only 'meta'"):
        start_ranks("cpu")
