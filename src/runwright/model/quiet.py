"""Loading without transformers' reports and bars; what matters is logged by the caller in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, transformers logs errors only and shows no bars; download bars of the hub stay."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    had_hub_bars = not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the hub's too: a download without a sign of life looks like a hang
    if had_hub_bars:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
            if not had_hub_bars:
                _disable_hub_bars()


def _disable_hub_bars() -> None:
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
