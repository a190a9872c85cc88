"""A tiny experiment, started by the command in forked processes that are killed, stopped, started again."""

from __future__ import annotations

import csv
import json
import os
import random
import runpy
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from runwright.analysis.steps import LOSS, best_hash, compare, weight_hashes
from runwright.tracker.journal import FILE_NAME, read

TRAINING = Path(__file__).parents[1] / "crashes" / "training.py"
WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@pytest.fixture(scope="session")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run with dropout and shuffling that saves in the middle of its epochs, of 12 steps each."""
    folder = tmp_path_factory.mktemp("kill")
    chance = random.Random(0)
    for split, count in (("train", 92), ("validation", 20), ("test", 10)):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for _ in range(count):
                text = " ".join(chance.choices(WORDS, k=chance.randint(1, 16)))
                writer.writerow([text, chance.choice("xyz")])
    save_tokenizer(folder / "tokenizer")
    files = [f"dataset.source.files.{name}={folder}/{name}.csv" for name in ("train", "validation", "test")]
    return [
        "dataset=csv", *files, "model=scratch", f"tokenizer.name={folder}/tokenizer",
        "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
        "model.dropout=0.2", "optimizer.lr=0.01", "trainer.device=cpu", "trainer.num_threads=1",
        "trainer.batch_size=8", "trainer.microbatch_size=3", "trainer.max_epochs=null",
        "trainer.evaluate_every_epochs=null", "trainer.evaluate_every_steps=25",
        "trainer.save_every_epochs=null", "trainer.save_every_steps=7", f"output_dir={folder}/outputs",
        "tracker.upload_every_seconds=0.2", "resume=auto",
    ]  # fmt: skip


def save_tokenizer(folder: Path) -> None:
    """A dozen words: a small embedding, quickly saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)


@dataclass(kw_only=True)
class Started:
    """A run that is started again and again by the same command, which does not say where it left off."""

    context: ForkServerContext
    overrides: list[str]
    name: str
    files: Path
    num_steps: int
    kills: list[str] = field(default_factory=list)
    steps: dict[Path, tuple[int, int]] = field(default_factory=dict)  # the last one, and where it ends

    @property
    def arguments(self) -> list[str]:
        return ["train", *self.overrides, f"name={self.name}", f"trainer.max_steps={self.num_steps}"]

    @property
    def folder(self) -> Path:
        """The run's folder; there is one only, however often it was started."""
        (only,) = self.folders()
        return only

    def folders(self) -> list[Path]:
        (output_dir,) = (text.partition("=")[2] for text in self.overrides if text.startswith("output_dir="))
        return [file.parent for file in Path(output_dir).glob(f"{self.name}/*/run.json")]

    def start(self, *more: str, kill_at: int = -1) -> ForkServerProcess:
        given = {
            "arguments": [*self.arguments, *more],
            "output": str(self.files / f"{self.name}.txt"),
            "report": str(self.files / f"{self.name}.count"),
            "kill_at": kill_at,
        }
        process = self.context.Process(
            target=runpy.run_path, args=(str(TRAINING), {"ARGUMENTS": given}, "__main__")
        )
        process.start()
        return process

    def finish(self) -> None:
        """To its end, unharmed."""
        process = self.start()
        process.join(240)
        assert process.exitcode == 0, self.output()[-3000:]

    def output(self) -> str:
        """What all its processes have printed."""
        return (self.files / f"{self.name}.txt").read_text()

    def num_operations(self) -> int:
        """The file operations of the saves of the last process that came to its end."""
        return int((self.files / f"{self.name}.count").read_text())

    def last_step(self) -> int:
        """The last one that is in a journal, which is read on from where it was read to."""
        for folder in self.folders():
            last, offset = self.steps.get(folder, (0, 0))
            with suppress(FileNotFoundError):
                for record, end in read(folder / FILE_NAME, offset=offset):
                    last, offset = max(last, record["s"] if LOSS in record.get("m", {}) else 0), end
            self.steps[folder] = last, offset
        return max((last for last, _ in self.steps.values()), default=0)

    def start_and_wait(self, step: int) -> ForkServerProcess:
        """A process that has come to this step, or is over."""
        process = self.start()
        until = time.monotonic() + 120
        while self.last_step() < step and process.is_alive() and time.monotonic() < until:
            time.sleep(0.004)  # looking costs the run its core
        return process

    def kill_after(self, step: int, delay: float) -> None:
        """SIGKILL a moment after a step was recorded; step 0 is the start of the process."""
        process = self.start_and_wait(step)
        time.sleep(delay)
        self._kill(process, f"{delay * 1000:.0f} ms after step {step}")

    def kill_in_save(self, operation: int) -> None:
        """Let the process kill itself before so many file operations of its saves."""
        process = self.start(kill_at=operation)
        process.join(240)
        self._kill(process, f"before operation {operation} of its saves")

    def stop_after(self, step: int, delay: float, number: int) -> tuple[int | None, float]:
        """A signal that asks for a stop; exit code, and seconds that it took."""
        process = self.start_and_wait(step)
        time.sleep(delay)
        assert process.pid
        os.kill(process.pid, number)
        began = time.monotonic()
        process.join(60)
        return process.exitcode, time.monotonic() - began

    def status(self) -> str:
        return json.loads((self.folder / "run.json").read_text())["status"]

    def saved_step(self) -> int:
        """Of the newest checkpoint."""
        return max(weight_hashes(self.folder))

    def check_same(self, whole: Started) -> None:
        """The same data, losses, figures and weights; each figure once, in the journal and in MLflow."""
        told = f"{self.folder} was killed {'; '.join(self.kills)}"
        for each in compare(whole.folder, self.folder):
            assert each.is_equal, (each, told)
            assert each.num_unmatched == 0, (each, told)
        assert best_hash(whole.folder) == best_hash(self.folder) != None, told  # noqa: E711
        assert weight_hashes(whole.folder).keys() == weight_hashes(self.folder).keys(), told
        records = [record for record, _ in read(self.folder / FILE_NAME)]
        assert not [record for record in records if "conflict" in record], told
        written = Counter((name, record["s"]) for record in records for name in record.get("m", {}))
        assert set(written.values()) == {1}, told
        assert self.status() == "FINISHED", told
        assert self.stored_in_mlflow() == ("FINISHED", written), told

    def stored_in_mlflow(self) -> tuple[str, Counter[tuple[str, int]]]:
        """Status, and how often each figure of each step is in the store, where the run must be once."""
        run_id = json.loads((self.folder / "run.json").read_text())["run_id"]
        query = "select run_uuid from tags where key = 'runwright.run_id' and value = ?"
        with sqlite3.connect(self.folder.parents[1] / "mlflow.db") as store:
            ((uuid,),) = store.execute(query, (run_id,)).fetchall()
            ((status,),) = store.execute("select status from runs where run_uuid = ?", (uuid,)).fetchall()
            rows = store.execute("select key, step from metrics where run_uuid = ?", (uuid,)).fetchall()
            return status, Counter(rows)

    def _kill(self, process: ForkServerProcess, when: str) -> None:
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        if process.exitcode == -signal.SIGKILL:  # otherwise it was over before
            self.kills.append(when)


@pytest.fixture(scope="session")
def make(
    context: ForkServerContext, overrides: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Started]:
    """Makes runs; none is started yet."""
    files = tmp_path_factory.mktemp("files")

    def make(
        name: str, *, num_steps: int, more: tuple[str, ...] = (), without: tuple[str, ...] = ()
    ) -> Started:
        chosen = [*(text for text in overrides if not text.startswith(without)), *more]
        return Started(context=context, overrides=chosen, name=name, files=files, num_steps=num_steps)

    return make


@pytest.fixture(scope="session")
def whole(make: Callable[..., Started]) -> Callable[[int], Started]:
    """A run of so many steps that nothing happened to, made once."""
    made: dict[int, Any] = {}

    def get(num_steps: int) -> Started:
        if num_steps not in made:
            made[num_steps] = make(f"whole-{num_steps}", num_steps=num_steps)
            made[num_steps].finish()
        return made[num_steps]

    return get
