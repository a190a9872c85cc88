"""Long inputs cut into windows that overlap, each position spoken for by exactly one of them."""

from __future__ import annotations

from typing import NamedTuple

MAX_WINDOWS = 1 << 16  # of one row: leaves 47 bits of an example id for the row


class Window(NamedTuple):
    """Pieces `start` to `end` - 1 of a row; it speaks for `own_start` to `own_end` - 1."""

    start: int
    end: int
    own_start: int
    own_end: int


def cut_windows(num_pieces: int, *, size: int, overlap: int) -> list[Window]:
    """Windows of at most `size` pieces, each beginning `size - overlap` after the one before.

    In an overlap the border lies in the middle, so every piece is judged where it has the most context.
    """
    assert 0 <= overlap < size, (overlap, size)
    starts = [0]
    while starts[-1] + size < num_pieces:
        starts.append(starts[-1] + size - overlap)
    ends = [min(start + size, num_pieces) for start in starts]
    borders = [0, *((ends[i] + starts[i + 1]) // 2 for i in range(len(starts) - 1)), num_pieces]
    return [Window(*cut) for cut in zip(starts, ends, borders[:-1], borders[1:], strict=True)]


def window_id(row_id: int, window: int) -> int:
    """An example id that is distinct within a split."""
    assert window < MAX_WINDOWS, f"row {row_id} is cut into more than {MAX_WINDOWS} windows"
    return row_id * MAX_WINDOWS + window


def row_of(example_id: int) -> int:
    """The row of an example with such an id."""
    return example_id // MAX_WINDOWS
