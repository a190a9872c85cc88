"""Promise 2, faults 1 and 4: a run that is killed at any instant and started again is the same run."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from runwright.comparing import LOSS, best_hash, compare, weight_hashes
from runwright.tracker.journal import FILE_NAME, read

pytestmark = pytest.mark.slow  # not yet run as a whole

TRAINING = Path(__file__).with_name("crashes") / "training.py"
PRELOADED = [
    "pytest", "runwright.execute", "runwright.tracker.mlflow", "mlflow.tracking", "matplotlib.pyplot",
    "transformers.models.bert.modeling_bert", "sqlalchemy", "alembic.command",
]  # fmt: skip
WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Makes processes that begin at once, forked from one that imported everything and computed nothing."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    return made


@pytest.fixture(scope="module")
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

    @property
    def folder(self) -> Path:
        """The run's folder; there is one only, however often it was started."""
        (only,) = self.folders()
        return only

    def folders(self) -> list[Path]:
        (output_dir,) = (text.partition("=")[2] for text in self.overrides if text.startswith("output_dir="))
        return [file.parent for file in Path(output_dir).glob(f"{self.name}/*/run.json")]

    def start(self, *, kill_at: int = -1) -> ForkServerProcess:
        arguments = ["train", *self.overrides, f"name={self.name}", f"trainer.max_steps={self.num_steps}"]
        given = {
            "arguments": arguments,
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
        assert process.exitcode == 0, (self.files / f"{self.name}.txt").read_text()[-3000:]

    def last_step(self) -> int:
        journals = [folder / FILE_NAME for folder in self.folders()]
        records = [record for file in journals if file.is_file() for record, _ in read(file)]
        return max((record["s"] for record in records if LOSS in record.get("m", {})), default=0)

    def kill_after(self, step: int, delay: float) -> None:
        """SIGKILL a moment after a step was recorded; step 0 is the start of the process."""
        process = self.start()
        until = time.monotonic() + 120
        while self.last_step() < step and process.is_alive() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(delay)
        self._kill(process, f"{delay * 1000:.0f} ms after step {step}")

    def kill_in_save(self, operation: int) -> None:
        """Let the process kill itself before so many file operations of its saves."""
        process = self.start(kill_at=operation)
        process.join(240)
        self._kill(process, f"before operation {operation} of its saves")

    def _kill(self, process: ForkServerProcess, when: str) -> None:
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        if process.exitcode == -signal.SIGKILL:  # otherwise it was over before
            self.kills.append(when)


# --- fault 1 ------------------------------------------------------------------------------------------------


def check_same(whole: Started, killed: Started) -> None:
    """The same data, losses, figures and weights; each figure once, in the journal and in MLflow."""
    told = f"{killed.folder} was killed {'; '.join(killed.kills)}"
    for each in compare(whole.folder, killed.folder):
        assert each.is_equal, (each, told)
        assert each.num_unmatched == 0, (each, told)
    assert best_hash(whole.folder) == best_hash(killed.folder) != None, told  # noqa: E711
    assert weight_hashes(whole.folder).keys() == weight_hashes(killed.folder).keys(), told
    records = [record for record, _ in read(killed.folder / FILE_NAME)]
    assert not [record for record in records if "conflict" in record], told
    written = Counter((name, record["s"]) for record in records for name in record.get("m", {}))
    assert set(written.values()) == {1}, told
    run = json.loads((killed.folder / "run.json").read_text())
    assert run["status"] == "FINISHED", told
    assert stored_in_mlflow(killed.folder.parents[1] / "mlflow.db", run["run_id"]) == written, told


def stored_in_mlflow(database: Path, run_id: str) -> Counter[tuple[str, int]]:
    """How often each figure of each step is in the store; the run itself must be there once."""
    query = "select run_uuid from tags where key = 'runwright.run_id' and value = ?"
    with sqlite3.connect(database) as store:
        ((uuid,),) = store.execute(query, (run_id,)).fetchall()
        return Counter(store.execute("select key, step from metrics where run_uuid = ?", (uuid,)).fetchall())


@pytest.fixture(scope="module")
def make(context: ForkServerContext, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    files = tmp_path_factory.mktemp("files")

    def make(name: str, *, num_steps: int) -> Started:
        return Started(context=context, overrides=overrides, name=name, files=files, num_steps=num_steps)

    return make


def unbroken(make: Any, num_steps: int) -> tuple[Started, int]:
    """A run without a kill, and the file operations of its saves."""
    whole = make(f"whole-{num_steps}", num_steps=num_steps)
    whole.finish()
    return whole, int((whole.files / f"{whole.name}.count").read_text())


def kill_often(killed: Started, plan: list[str], *, operations: int, chance: random.Random) -> None:
    """Start a run as often as the plan has kills, and once more."""
    for place, kind in enumerate(plan):
        left = len(plan) - place
        done = killed.last_step()
        step = done + 1 + chance.randrange(max(1, (killed.num_steps - done) // left))
        if kind == "start":
            killed.kill_after(0, chance.uniform(0, 1.0))
        elif kind == "save":
            share = operations * (killed.num_steps - done) // killed.num_steps
            killed.kill_in_save(chance.randrange(max(1, share // left)))
        elif kind == "end":
            killed.kill_after(killed.num_steps, chance.uniform(0, 0.5))
        else:
            killed.kill_after(step, chance.uniform(0, 0.02))
    killed.finish()


def test_a_run_that_was_killed_four_times_is_the_same_run(make: Any) -> None:
    whole, operations = unbroken(make, 40)
    killed = make("killed", num_steps=40)
    kill_often(killed, ["start", "step", "save", "end"], operations=operations, chance=random.Random(0))
    assert len(killed.kills) == 4, killed.kills
    check_same(whole, killed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_50_kills_of_which_20_are_in_the_midst_of_a_save(make: Any) -> None:
    whole, operations = unbroken(make, 200)
    plans = [["start", "step", "save", "step", "save"], ["step", "save", "step", "save", "end"]] * 5
    num_kills = 0
    for seed, plan in enumerate(plans):
        chance = random.Random(seed)
        killed = make(f"killed-{seed}", num_steps=200)
        kill_often(killed, chance.sample(plan[:-1], k=4) + plan[-1:], operations=operations, chance=chance)
        check_same(whole, killed)
        num_kills += len(killed.kills)
    assert num_kills == 50


# --- fault 4 ------------------------------------------------------------------------------------------------

EPOCH, NUM_STEPS_AFTER = 12, 20  # 92 rows, 8 at a time: the last batch of an epoch has 4
SAVED_AT = {"step 1": 1, "mid-epoch": 7, "epoch end": EPOCH, "epoch end + 1": EPOCH + 1}


class Figures:
    """What a loop logs of each step: the loss to the last bit, and the batches so far."""

    def __init__(self) -> None:
        self.losses: dict[int, str] = {}
        self.ledgers: dict[int, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.losses[step] = metrics[LOSS].hex()

    def log_ledger(self, ledger: str, *, step: int) -> None:
        self.ledgers[step] = ledger

    def sync(self) -> int:
        return 0


def train(config: dict[str, Any], prepared: Any, folder: Path) -> tuple[int, Figures]:
    """Train from the newest checkpoint in the folder, if any; from which step, and what was logged."""
    import torch

    from runwright import build
    from runwright.trainer.checkpoint import CheckpointStore
    from runwright.trainer.loop import Loop, TrainingState, make_plan, restore_snapshot
    from runwright.trainer.ranks import Ranks
    from runwright.trainer.stop import StopFlag

    ranks, options = Ranks(rank=0, num_ranks=1, device=torch.device("cpu")), build.build_options(config)
    model = build.build_model(config, prepared, device=ranks.device)
    stepper = build.build_stepper(config, model=model, task=prepared.task, ranks=ranks)
    batches = build.build_batches(config, prepared.examples["train"], prepared.task, ranks=ranks)
    plan = make_plan(options, steps_per_epoch=batches.order.steps_per_epoch)
    assert plan.steps_per_epoch == EPOCH
    scheduler = build.build_scheduler(config, stepper.optimizer, total_steps=plan.total_steps)
    store, log = CheckpointStore(folder, keep=options.keep_checkpoints, identity={}), Figures()
    found = store.load_newest()
    state = restore_snapshot(found[1], stepper, scheduler) if found else TrainingState()
    begin = state.step
    loop = Loop(
        batches=batches, stepper=stepper, scheduler=scheduler, options=options, plan=plan, checkpoints=store,
        log=log, stop=StopFlag(), evaluate=None, on_step=lambda *_: None,
    )  # fmt: skip
    assert loop.run(state) == 0
    assert store.wait() is None
    return begin, log


@pytest.fixture(scope="module")
def whole_trainings(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trainings with a checkpoint after each step, by dropout and microbatch size, each made once."""
    from runwright import build
    from runwright.compose import compose_checked

    made: dict[tuple[float, int], Any] = {}

    def get(dropout: float, microbatch_size: int) -> Any:
        if (dropout, microbatch_size) not in made:
            more = [f"model.dropout={dropout}", f"trainer.microbatch_size={microbatch_size}"]
            more += [f"trainer.max_steps={EPOCH + 1 + NUM_STEPS_AFTER}", "trainer.save_every_steps=1"]
            config = compose_checked([*overrides, *more, "trainer.keep_checkpoints=99"]).config
            prepared, folder = build.prepare(config, cache_folder=None), tmp_path_factory.mktemp("whole")
            made[dropout, microbatch_size] = config, prepared, folder, train(config, prepared, folder)[1]
        return made[dropout, microbatch_size]

    return get


@pytest.mark.parametrize("saved_at", SAVED_AT.values(), ids=SAVED_AT)
@pytest.mark.parametrize("microbatch_size", [8, 2], ids=["one microbatch", "four"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_next_20_losses_after_a_resume_are_equal_to_the_last_bit(
    dropout: float, microbatch_size: int, saved_at: int, whole_trainings: Any, tmp_path: Path
) -> None:
    config, prepared, checkpoints, expected = whole_trainings(dropout, microbatch_size)
    name = f"step-{saved_at:08d}"
    shutil.copytree(checkpoints / name, tmp_path / name)
    begin, found = train(config, prepared, tmp_path)
    assert begin == saved_at
    steps = range(saved_at + 1, saved_at + 1 + NUM_STEPS_AFTER)
    assert [found.losses[step] for step in steps] == [expected.losses[step] for step in steps]
    assert [found.ledgers[step] for step in steps] == [expected.ledgers[step] for step in steps]
    assert len({expected.losses[step] for step in steps}) == NUM_STEPS_AFTER  # it does learn something
