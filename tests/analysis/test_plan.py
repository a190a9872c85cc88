"""`runwright plan` against real runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runwright
from runwright.analysis.plan import plan_of
from runwright.cli.main import main
from runwright.config.compose import compose_checked
from runwright.config.folders import find_conf_folders
from runwright.errors import ConfigError
from runwright.launch.multirun import _study_options, check_all, trials_of

WORDS = ["the", "film", "was", "a", "story", "with", "people", "in", "it", "good", "bad", "fine", "dull"]
COMMON = [
    "dataset=json", "dataset.source.files.train=rows.jsonl", "dataset.holdout.validation=0.25",
    "tracker=console", "trainer.device=cpu", "trainer.num_threads=1", "trainer.batch_size=8", "metric=[]",
]  # fmt: skip
SIZES = "hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16"
ENCODER = ["model=scratch", f"model.config={{{SIZES}}}"]
TINY = [*COMMON, "tokenizer=train/word", *ENCODER]
MASKED = ["task=masked_language_modeling", "task.max_length=16"]
NEXT = ["task=causal_language_modeling", "task.max_length=16", "model=scratch_decoder"]
TEXTS = [
    "task=translation", "task.source_column=text", "task.target_column=other", "tokenizer.family=t5",
    "model=scratch_encoder_decoder",
]  # fmt: skip
PADDED = "model.attention=sdpa"
TASKS = {
    "words": [*ENCODER, *MASKED],
    "deberta": [*ENCODER, *MASKED, "model.architecture=deberta-v2"],
    "llama": NEXT,
    "gpt2": [*NEXT, "model.architecture=gpt2"],
    "marian": TEXTS,
    "t5": [*TEXTS, "model.architecture=t5", "~model.config", "+model.config={d_model:16,num_layers:1}"],
}


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randint(2, 40))) for _ in range(2)] for _ in range(80)]
    lines = [{"text": one, "other": other, "label": "ab"[n % 2]} for n, (one, other) in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def planned(*overrides: str) -> dict[str, Any]:
    return plan_of(compose_checked(overrides).config)


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.max_epochs=2.6"],
        [
            "trainer.max_epochs=null",
            "trainer.max_steps=13",
            "trainer.microbatch_tokens=64",
            PADDED,
        ],
    ],
)
def test_steps_tokens_and_padding_are_those_of_the_run(more: list[str]) -> None:
    plan = planned(*TINY, *more)
    assert plan["past"] == []
    result = runwright.run([*TINY, *more])
    summary = json.loads((result.folder / "summary.json").read_text())
    assert (plan["steps"], plan["tokens"]) == (summary["global_step"], summary["real_tokens"])
    assert plan["padding"] == pytest.approx(summary["rates"].get("padding_share", 0.0))
    assert plan["rows"] == {"train": 60, "validation": 20}
    assert planned(*TINY, *more)["past"] == [pytest.approx(summary["seconds"]["all"])]


def test_the_disk_holds_the_checkpoints_that_are_kept_and_the_one_being_written() -> None:
    none, one, two = (planned(*TINY, f"trainer.keep_checkpoints={count}")["disk"] for count in (0, 1, 2))
    assert none == one < two  # until its end a run has one to go on from


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_architecture_has_an_estimate_of_its_activations(name: str) -> None:
    plan = planned(*COMMON, "tokenizer=train/word", *TASKS[name])
    assert plan["memory"]["activations"] > plan["tokens"]
    assert plan["memory"]["optimizer"] >= 2 * plan["memory"]["gradients"]


def test_a_sweep_has_the_trials_of_its_grid_or_of_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["optimizer.lr=1e-3,1e-4", "trainer.batch_size=choice(4,8,16)"]
    assert trials_of([*TINY, *grid])[1] == 6
    study = ["sweep=lr_search", "hydra.sweeper.n_trials=7"]
    assert trials_of([*TINY, *study])[1] == 7
    assert trials_of([*TINY, "sweep=lr_search", "hydra.sweeper.n_trials=null"])[1] == 20
    assert trials_of([*TINY])[1] == 1
    assert main(["plan", "-m", *TINY, *grid]) == 0
    assert "at most 6, each planned as the one with the first values" in capsys.readouterr().out
    assert main(["plan", *TINY, "sweep=lr_search"]) == 2
    assert "given without -m" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["trainer.microbatch_size=4"], ["optimizer=sgd", PADDED]])
def test_memory_is_within_a_third_of_what_the_run_takes(more: list[str]) -> None:
    long = [
        "task.max_length=256",
        "model.config={hidden_size:384,num_hidden_layers:6,intermediate_size:1536}",
    ]
    overrides = [*TINY, *long, *more, "trainer.max_epochs=1", "trainer.batch_size=32"]
    plan = planned(*overrides)
    command = [sys.executable, "-m", "runwright", "train", *overrides, "output_dir=measured"]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    (file,) = Path("measured").glob("*/*/summary.json")
    taken = json.loads(file.read_text())["peak_memory_bytes"]
    assert plan["memory"]["all"] == pytest.approx(taken, rel=1 / 3)


def test_lists_of_a_sweep_s_file_are_read_before_its_trials(rows: Path) -> None:
    (rows / "conf" / "sweep").mkdir(parents=True)
    sweeper = {
        "sampler": "grid", "n_trials": None, "objectives": ["a", "b"], "direction": ["minimize", "maximize"],
        "constraints": ["trainer.batch_size * optimizer.lr <= 0.2"], "not_compared": ["name"],
        "params": {"optimizer.lr": "choice(0.01,0.02)", "trainer.max_grad_norm": "choice(1,2)"},
    }  # fmt: skip
    head = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: runwright\n"
    text = head + json.dumps({"hydra": {"sweeper": sweeper}})[1:-1].replace('"hydra":', "hydra:", 1) + "\n"
    (rows / "conf" / "sweep" / "mine.yaml").write_text(text)
    words = [*TINY, "sweep=mine", "trainer.batch_size=16"]
    assert trials_of(words)[1] == 2  # 0.02 is refused with both norms
    examples, _ = check_all(words, find_conf_folders())
    options = _study_options(examples, words)
    assert not any(option.startswith("hydra.sweeper.direction=") for option in options)
    assert any(option.startswith("hydra.sweeper.not_compared=") and ",name]" in option for option in options)
    with pytest.raises(ConfigError, match="n_trials: given -1, expected more than 0"):
        trials_of([*words, "hydra.sweeper.n_trials=-1"])


@pytest.mark.parametrize(("direction", "is_ours"), [("", True), ("direction: maximise", False)])
def test_the_direction_of_a_sweep_s_file_is_not_replaced(rows: Path, direction: str, is_ours: bool) -> None:
    (rows / "conf" / "sweep").mkdir(parents=True)
    text = f"""# @package _global_
defaults:
  - override /hydra/sweeper: runwright
hydra:
  sweeper:
    params: {{optimizer.lr: "choice(0.01,0.02)"}}
    {direction}
"""
    (rows / "conf" / "sweep" / "mine.yaml").write_text(text)
    examples, _ = check_all([*TINY, "sweep=mine"], find_conf_folders())
    options = _study_options(examples, [])
    assert any(option.startswith("hydra.sweeper.direction=") for option in options) == is_ours
