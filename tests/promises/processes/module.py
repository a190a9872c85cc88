"""`python -P -m MODULE …` in a forked process: run by `runpy` with ARGUMENTS in its globals."""

from __future__ import annotations

import os
import runpy
import sys
from multiprocessing.connection import Connection

from runwright.config.permissions import grant
from runwright.trainer.environment import STORE_VARIABLE


def main(
    *, words: list[str], environment: dict[str, str], outputs: list[Connection], store: Connection | None
) -> None:
    os.setsid()
    for number, output in enumerate(outputs, start=1):
        os.dup2(output.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    if store is not None:
        os.environ[STORE_VARIABLE] = str(os.dup(store.fileno()))
    grant()  # as a new process: the server may have begun in another project's folder
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(**globals()["ARGUMENTS"])
