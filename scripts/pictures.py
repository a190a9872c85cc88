"""Makes the pictures of the README: the terminal while a run trains, and the report page of that run.

python scripts/pictures.py      needs Chromium; trains experiment=vader on 2,000 rows, two minutes
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = REPOSITORY / "docs" / "images"
COLUMNS = 100
COMMAND = [
    "runwright", "train", "experiment=vader", "dataset.subset.train=2000", "dataset.subset.test=500",
    "trainer.num_threads=1", "trainer.log_every_steps=10",
]  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> int:
    """Write both pictures into docs/images; the exit code."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("pictures: no Chromium found", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        output = in_terminal(COMMAND, folder=folder)
        draw_terminal(output, IMAGES / "terminal.svg")
        (run,) = Path(folder, "outputs", "vader").iterdir()
        draw_page(run / "report.html", IMAGES / "report.png", browser=browser)
    return 0


def in_terminal(command: list[str], *, folder: str) -> str:
    """Everything that a command prints to a terminal of COLUMNS columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    program = [sys.executable, "-m", *command]
    with subprocess.Popen(
        program, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    ) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert process.returncode == 0, b"".join(parts).decode(errors="replace")
    return b"".join(parts).decode()


def draw_terminal(output: str, file: Path) -> None:
    """An SVG of the terminal half way through the training, without fonts from another host."""
    from rich.console import Console
    from rich.text import Text

    frames = screen_at(output, share=0.6)
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    console.print("[bold green]$[/] " + " ".join(COMMAND[:4]), highlight=False)
    for line in frames:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis")
    drawing = console.export_svg(title="runwright train experiment=vader")
    drawing = re.sub(r"@font-face \{.*?\}\n", "", drawing, flags=re.DOTALL)
    file.write_text(re.sub(r"[ \t]+$", "", drawing, flags=re.MULTILINE), encoding="utf-8")


def screen_at(output: str, *, share: float) -> list[str]:
    """The lines that the screen shows after this share of the frames of the training's progress bar."""
    frames = [found.start() for found in re.finditer(r"\r\x1b\[2Ktrain ", output)]
    shown = output[: frames[int(len(frames) * share)] if frames else len(output)]
    lines, row = [""], 0
    for piece in re.split(r"(\r\n|\n|\r|\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh])", shown):
        if piece in {"\n", "\r\n"}:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece in {"\r", "\x1b[2K"}:
            lines[row] = ""
        elif move := re.fullmatch(r"\x1b\[(\d*)A", piece):
            row -= int(move[1] or 1)
        elif not piece.startswith("\x1b[?"):
            lines[row] += piece
    return [line for line in lines if line.strip()]


def draw_page(page: Path, file: Path, *, browser: str) -> None:
    """A screenshot of the top of an HTML page."""
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb",
            "--virtual-time-budget=3000", "--window-size=1100,1250", f"--screenshot={file}", page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
