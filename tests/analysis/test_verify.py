"""`runwright verify`: what holds is confirmed, and each way of not holding is found and named."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runwright.analysis.reproduce import Reproduction, show
from runwright.analysis.steps import Comparison
from runwright.analysis.verify.parity import Finding
from runwright.analysis.verify.verify import _print
from runwright.config import permissions
from runwright.tracker.journal import Journal

WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]
USERS_MODEL = '''
from types import SimpleNamespace

import torch
from transformers import BertConfig, BertForSequenceClassification


class Bag(torch.nn.Module):
    """The mean of the words, in some ways of which two treat examples alone; one of them rounds badly."""

    def __init__(self, head, size, flaw):
        super().__init__()
        self.flaw = flaw
        self.words = torch.nn.Embedding(size, 8)
        self.norm = torch.nn.BatchNorm1d(8) if flaw == "normalizes" else torch.nn.Identity()
        self.drop = torch.nn.Dropout(0.1)
        self.out = torch.nn.Linear(8, head.num_labels)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        vectors = self.words(input_ids)
        mask = torch.ones_like(attention_mask) if self.flaw == "pads" else attention_mask
        weights = mask[..., None].to(vectors)
        far = 3e4 if self.flaw == "rounds" else 0.0
        means = self.norm(((vectors + far) * weights).sum(1) / weights.sum(1) - far)
        if self.flaw == "gambles" and self.training:
            means = means + 0.1 * torch.randn_like(means)
        return SimpleNamespace(logits=self.out(self.drop(means)))


def bag(head, tokenizer, *, flaw: str):
    return Bag(head, len(tokenizer), flaw)


class Counting(BertForSequenceClassification):
    """Depends on how often it was called in this process: no checkpoint knows."""

    calls = 0

    def forward(self, *args, **kwargs):
        self.calls += 1
        outputs = super().forward(*args, **kwargs)
        outputs.logits = outputs.logits * (1 + self.calls / 1000)
        return outputs


def counting(head, tokenizer):
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return Counting(BertConfig(vocab_size=len(tokenizer), num_labels=head.num_labels, **size))
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with data, a tokenizer and models of their own."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("project")
    (folder / "mine.py").write_text(USERS_MODEL)
    chance = random.Random(0)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for _ in range(100):
            text = " ".join(chance.choices(WORDS, k=chance.randint(1, 16)))
            writer.writerow([text, chance.choice("xyz")])
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder / "tokenizer")
    permissions.grant(packages=["mine"], folder=folder)
    yield folder
    permissions.grant()
    sys.path.remove(str(folder))


def overrides(project: Path) -> list[str]:
    return [
        "dataset=csv", f"dataset.source.files.train={project}/rows.csv", "dataset.holdout.validation=0.3",
        f"tokenizer.name={project}/tokenizer", "model=scratch", "model.dropout=0.2", "trainer.device=cpu",
        "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
        "trainer.batch_size=8", "trainer.num_threads=1", "optimizer.lr=0.01",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def make_subject(project: Path) -> Callable[..., Any]:
    """The experiment in one process, with a model of the user's where one is named."""
    from runwright import build
    from runwright.config.compose import compose_checked

    prepared = build.prepare(compose_checked(overrides(project)).config, cache_folder=None)

    def make(flaw: str | None = None, *more: str) -> Any:
        import torch

        from runwright.analysis.verify.parity import Subject
        from runwright.trainer.ranks import Ranks

        config = compose_checked([*overrides(project), *more]).config
        if flaw is not None:
            config["model"] = {"_target_": "mine.bag", "flaw": flaw}
        ranks = Ranks(rank=0, num_ranks=1, device=torch.device("cpu"))
        return Subject(config=config, prepared=prepared, ranks=ranks)

    return make


def verdicts(findings: list[Any]) -> Counter[str]:
    return Counter(finding.verdict for finding in findings)


def test_a_worker_reads_what_a_secret_variable_stands_for(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runwright.analysis.verify.verify import FINDINGS_FILE, measure_as_worker
    from runwright.config.compose import compose_checked
    from runwright.runs.folder import write_config

    monkeypatch.setenv("ROWS_TOKEN", project.name)  # which is then no part of what is written
    write_config(tmp_path, compose_checked(overrides(project)).config)
    assert "${oc.env:ROWS_TOKEN}/rows.csv" in (tmp_path / "config.yaml").read_text()
    measure_as_worker(tmp_path, checks=[], num_threads=1)
    assert json.loads((tmp_path / FINDINGS_FILE).read_text()) == []


# --- parity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flaw", [None, "none"])
def test_what_treats_examples_alone_is_split_invariant(flaw: str | None, make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_parity

    findings = list(check_parity(make_subject(flaw)))
    assert verdicts(findings) == {"holds": 4}  # two cuts in two precisions
    assert not [finding for finding in findings if finding.advice]


def test_bad_rounding_is_not_taken_for_dependence_on_the_cut(make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_parity

    findings = list(check_parity(make_subject("rounds")))
    assert verdicts(findings) == {"holds": 4}
    single = [finding for finding in findings if finding.what.startswith("float32")]
    assert all(float(finding.allowed) > 1e-5 for finding in single)
    assert (
        max(float(finding.difference.split()[0]) for finding in single) > 1e-5
    )  # the usual limit would be wrong


@pytest.mark.parametrize(
    ("flaw", "advice"),
    [("normalizes", "statistics over the batch (norm: BatchNorm1d)"), ("pads", "padding that is not masked")],
)
def test_what_depends_on_the_cut_is_found_and_the_reason_named(
    flaw: str, advice: str, make_subject: Any
) -> None:
    from runwright.analysis.verify.parity import check_parity

    findings = list(check_parity(make_subject(flaw)))
    assert verdicts(findings) == {"fails": 4}
    assert all(advice in finding.advice for finding in findings)


def test_randomness_that_cannot_be_switched_off_is_said(make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_parity

    findings = list(check_parity(make_subject("gambles")))
    assert verdicts(findings) == {"not checked": 2}
    assert all("draws random numbers" in finding.difference for finding in findings)


def test_measuring_leaves_the_model_as_it_was(make_subject: Any) -> None:
    import torch

    from runwright import build
    from runwright.analysis.verify.parity import compare_gradients, measure_gradient
    from runwright.trainer.batches import Cut

    subject = make_subject("normalizes")
    model = build.build_model(subject.config, subject.prepared, device=torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, other = (measure_gradient(subject, model, cut=Cut(), ranks=subject.alone) for _ in range(2))
    assert compare_gradients(one, other)[0] == 0.0
    assert any(bool(gradient.any()) for gradient in one.parameters.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# --- evaluation ---------------------------------------------------------------------------------------------


def test_an_evaluation_does_not_depend_on_its_batches(make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_evaluation

    findings = list(check_evaluation(make_subject(), num_rows=16))
    assert verdicts(findings) == {"holds": 2}
    assert findings[0].what == "16 examples of validation"


def test_a_run_of_lower_precision_is_checked_in_float32(make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_evaluation

    findings = list(check_evaluation(make_subject(None, "trainer.precision=bf16"), num_rows=16))
    assert verdicts(findings) == {"holds": 2}


def test_padding_in_an_evaluation_is_found(make_subject: Any) -> None:
    from runwright.analysis.verify.parity import check_evaluation

    findings = list(check_evaluation(make_subject("pads"), num_rows=16))
    assert findings[-1].verdict == "fails"
    assert "padding that is not masked" in findings[-1].advice


def test_examples_with_the_same_id_are_found(make_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from runwright.analysis.verify.parity import check_evaluation

    subject = make_subject()
    task = subject.prepared.task
    collate = task.collate

    def collate_badly(examples: Any) -> Any:
        batch = collate(examples)
        return {**batch, "example_ids": batch["example_ids"] // 2}

    monkeypatch.setattr(task, "collate", collate_badly)
    findings = list(check_evaluation(subject, num_rows=16))
    assert findings[0].difference == "not each once"
    assert findings[0].verdict == "fails"


# --- resume -------------------------------------------------------------------------------------------------


def test_doubled_and_contradicting_records_are_counted(tmp_path: Path) -> None:
    from runwright.analysis.verify.verify import count_doubled

    journal = Journal(tmp_path / "journal.jsonl")
    journal.metrics({"train/loss": 0.5, "train/epoch": 1.0}, step=1)
    journal.metrics({"train/loss": 0.5, "train/epoch": 1.0}, step=1)  # a replay that agrees
    journal.close()
    assert count_doubled(tmp_path) == 0
    with (tmp_path / "journal.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"t": 1, "s": 1, "m": {"train/loss": 0.5}}) + "\n")
        stream.write(json.dumps({"t": 1, "s": 1, "conflict": {"train/epoch": [1.0, 2.0]}}) + "\n")
    assert count_doubled(tmp_path) == 2


def verify(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runwright", "verify", *words],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TMPDIR": str(project)},
    )


@pytest.mark.slow
def test_the_command_verifies_with_processes_and_kills(project: Path) -> None:
    done = verify(project, *overrides(project), "--steps", "12")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("on 2 processes", "each once", "killed after step", "parity: ", "evaluation: ", "resume: "):
        assert words in done.stdout
    assert "fails" not in done.stdout
    assert not list(project.glob("runwright-verify-*"))


@pytest.mark.slow
def test_a_model_that_no_checkpoint_knows_all_of_is_found(project: Path) -> None:
    (project / "conf" / "model").mkdir(parents=True, exist_ok=True)
    (project / "conf" / "model" / "counting.yaml").write_text("_target_: mine.counting\n")
    chosen = [text for text in overrides(project) if not text.startswith("model")]
    done = verify(project, *chosen, "model=counting", "resume", "--allow-package", "mine")
    assert done.returncode == 1, done.stdout + done.stderr
    (loss,) = (line for line in done.stdout.splitlines() if "loss (20 steps" in line)
    assert "fails" in loss
    assert "something that a later step depends on is in no checkpoint" in done.stdout
    (kept,) = project.glob("runwright-verify-*")
    assert f"everything that was run is in {kept}" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=vader", "parrity"], "did you mean 'parity'?"),
        (["experiment=vader", "--steps", "3"], "--steps: given 3, expected at least 10"),
        (["vader"], "experiment=vader"),
    ],
)
def test_a_wrong_command_is_answered_before_anything_is_loaded(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from runwright.cli.main import main

    assert main(["verify", *words]) == 2
    assert message in capsys.readouterr().err


def test_no_word_of_the_table_is_cut_where_the_output_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    weight = "bert.embeddings.token_type_embeddings.weight"
    texts = ["float64, 16 examples cut by 4 on 2 processes", f"9.0e-15 ({weight})", "1e-10"]
    _print([Finding("parity", *texts, verdict="holds")])
    assert weight in capsys.readouterr().out


def test_a_reproduction_names_both_runs_whole_where_the_output_is_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["2026-11-30_15-06-08-fb1eb3", "2026-11-30_15-08-20-9b8ee6"]
    row = Comparison(what="other metrics", compared="3,000 steps", where="step 1234", values=("0.1" * 9, "2"))
    folders = {"original": tmp_path / names[0], "folder": tmp_path / names[1]}
    changes: dict[str, Any] = {"verdict": "different", "first": "", "step": 1, "changes": []}
    show(Reproduction(**folders, **changes, comparisons=[row]))
    heading = next(line for line in capsys.readouterr().out.splitlines() if line.strip())
    assert all(name in heading for name in names)
