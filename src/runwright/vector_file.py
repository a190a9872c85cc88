"""Vectors as one .npy file, written row by row: their number need not be known before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from runwright.errors import ConfigError


class VectorWriter:
    """Takes the `prediction` of each record; `close` writes how many there were, [N, D] float32."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._shape = (0, 0)
        self._write_header()

    def write(self, record: Mapping[str, Any]) -> None:
        """One record; raises ConfigError where its prediction is no vector."""
        vector = record["prediction"]
        if not (isinstance(vector, list) and vector and all(isinstance(each, float) for each in vector)):
            raise ConfigError("--output: a .npy file takes vectors, which task=sentence_embedding predicts")
        self._shape = (self._shape[0] + 1, len(vector))
        self.stream.write(np.array(vector, dtype="<f4").tobytes())

    def close(self) -> None:
        """Put the shape into the header, for which numpy leaves room."""
        end = self.stream.tell()
        self.stream.seek(0)
        self._write_header()
        self.stream.seek(end)

    def _write_header(self) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        before = self.stream.tell()
        npy.write_array_header_1_0(self.stream, header)
        size = self.stream.tell() - before
        assert size == HEADER_SIZE, f"a header of {size} bytes for {self._shape}"


HEADER_SIZE = 128
