"""`runwright …` or `python -c …` in a forked process: run by `runpy` with ARGUMENTS in its globals."""

from __future__ import annotations

import os
import sys

from runwright.cli.main import main as runwright


def main(
    *, arguments: list[str], code: str | None, folder: str, environment: dict[str, str], files: list[str]
) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, folder)
    sys.argv = ["-c" if code else "runwright", *arguments]
    try:
        if code is None:
            sys.exit(runwright())
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except Exception:  # noqa: BLE001 - as an interpreter does; multiprocessing would print it in its own way
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)


if __name__ == "__main__":
    main(**globals()["ARGUMENTS"])
