"""Options of every task: a loss of the user's, and the length that texts are padded to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
import yaml
from datasets import Dataset

from runwright.config.targets import instantiate
from runwright.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf" / "task"
ROWS: dict[str, list[Any]] = {
    "row_id": [0, 1, 2],
    "text": ["a b c d", "b", "c d a"],
    "other": ["a", "c d", "b b"],
    "label": ["x", "y", "x"],
    "score": [0.0, 1.0, 1.0],
    "tags": [["x", "y", "x", "x"], ["y"], ["x", "x", "y"]],
    "words": [["a", "b", "c", "d"], ["b"], ["c", "d", "a"]],
    "answers": [{"text": [text], "answer_start": [start]} for text, start in (("c", 4), ("b", 0), ("d", 2))],
}
TASKS: dict[str, dict[str, Any]] = {
    "sequence_classification": {},
    "token_classification": {"scheme": "plain", "overlap": 2},
    "question_answering": {
        "question_column": "other", "context_column": "text", "overlap": 2, "max_question_length": 4,
    },
    "masked_language_modeling": {"mask_probability": 0.5},
    "causal_language_modeling": {"join_rows": False},
    "instruction_tuning": {"forms": {"row": {"prompt": "text", "response": "other"}}},
    "translation": {"source_column": "text", "target_column": "other", "max_target_length": 9},
    "sentence_embedding": {"text_column": "text", "text_pair_column": "other", "label_max": 1.0},
}  # fmt: skip
TEMPLATE = "{% for m in messages %}{{ m.content }} [SEP]{% endfor %}"
SIZE: dict[str, Any] = {
    "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8,
}  # fmt: skip


@pytest.fixture
def make(tokenizer: Any) -> Callable[..., Any]:
    """The task of this name with the shipped options, but for the changes."""
    import copy

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"mask_token": "[MASK]", "eos_token": "[SEP]"})
    tokenizer.chat_template = TEMPLATE

    def make_task(name: str, **changes: Any) -> Any:
        options = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
        options.pop("defaults", None)
        options |= {"max_length": 12} | TASKS[name] | {n: v for n, v in changes.items() if n != "loss"}
        task = instantiate(options, tokenizer, group="task", key="task")
        task.loss_option = changes.get("loss")
        task.fit({"train": Dataset.from_dict(ROWS)})
        return task

    return make_task


def batch_of(task: Any) -> dict[str, torch.Tensor]:
    examples = task.encode(task.inputs_of(Dataset.from_dict(ROWS), split="train")[:])
    return task.collate(task.augment(examples, seed=0, epoch=0))


def model_of(task: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    dropout: Any = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config: Any = transformers.BertConfig(**SIZE, **dropout, pad_token_id=0)
    if task.auto_class == "AutoModelForCausalLM":
        config = transformers.LlamaConfig(**SIZE, pad_token_id=0)
    elif task.auto_class == "AutoModelForSeq2SeqLM":
        sizes: Any = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
        config = transformers.T5Config(vocab_size=10, dropout_rate=0.0, **sizes)
        config.decoder_start_token_id = 0
    config.num_labels = task.head.num_labels or 2
    return getattr(transformers, task.auto_class).from_config(config).double().train()


def loss_of(task: Any) -> float:
    batch = batch_of(task)
    return float(task.loss(task.forward(model_of(task), batch), batch).total.detach())


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sentence_embedding"])
def test_a_loss_of_the_users_is_summed_as_the_tasks_own(make: Any, name: str) -> None:
    def doubled(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 2 * F.cross_entropy(logits, labels, reduction="none")

    assert loss_of(make(name, loss=doubled)) == pytest.approx(2 * loss_of(make(name)), rel=1e-6)
    with pytest.raises(ConfigError, match=r"task.loss: given a tensor \[\], expected \[.+\], the shape"):
        loss_of(make(name, loss=F.cross_entropy))


def test_losses_that_a_task_cannot_have_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="given a function of a batch, expected one of logits and labels"):
        make("sequence_classification", loss=lambda logits, labels, batch: labels)


def test_vectors_of_texts_have_a_loss_of_the_users_too(make: Any) -> None:
    def far(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (F.cosine_similarity(vectors[:, 0], vectors[:, 1]) - labels).square() * 3

    expected = 3 * loss_of(make("sentence_embedding"))
    assert loss_of(make("sentence_embedding", loss=far)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["causal_language_modeling", "masked_language_modeling", "translation"])
def test_rows_are_weighted_by_the_batch(make: Any, name: str) -> None:
    """As weights of texts by the key tokens in them."""

    def keyed(logits: torch.Tensor, labels: torch.Tensor, batch: Any) -> torch.Tensor:
        assert len(logits) == len(labels) == int((batch["labels"] != -100).sum())
        keys = (batch["input_ids"] == 4).sum(dim=1)
        rows = (batch["labels"] != -100).nonzero()[:, 0]
        return F.cross_entropy(logits, labels, reduction="none") * (1 + keys)[rows]

    task, plain = make(name, loss=keyed), make(name)
    batch, model = batch_of(task), model_of(task)
    total = float(task.loss(task.forward(model, batch), batch).total.detach())
    by_row = plain.predictions(plain.forward(model, batch).detach(), batch).losses
    weights = 1 + (batch["input_ids"] == 4).sum(dim=1).numpy()
    assert total == pytest.approx(float((by_row * weights).sum()), rel=1e-6)


def test_the_evaluation_stays_plain(make: Any) -> None:
    task = make("causal_language_modeling", loss=lambda logits, labels: logits.sum(dim=1) * 0 + labels)
    batch, model = batch_of(task), model_of(task).eval()
    expected = make("causal_language_modeling").forward(model, batch)
    torch.testing.assert_close(task.forward(model, batch), expected)


@pytest.mark.parametrize("name", list(TASKS))
def test_padding_to_a_multiple_or_the_maximum_changes_no_loss(make: Any, name: str) -> None:
    expected, width = loss_of(make(name)), batch_of(make(name))["input_ids"].shape[1]
    for pad_to, length in ((8, 8 if width <= 8 else 12), ("maximum", 12)):
        task = make(name, pad_to=pad_to)
        batch = batch_of(task)
        assert batch["input_ids"].shape[1] == batch["attention_mask"].shape[1] == length
        if name == "translation":
            assert batch["labels"].shape[1] == min(length, 9)
        assert loss_of(task) == pytest.approx(expected, rel=1e-9)
