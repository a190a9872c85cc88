"""A padded batch and the same one as a single row of tokens: outputs and gradients in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from runwright.model.padding_free import ARCHITECTURES, NAME, is_padding_free, use_padding_free

LENGTHS = (30, 3, 17, 9, 1)
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": 100, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
MORE: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8},
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 8},
    "modernbert": {"local_attention": 8, "cls_token_id": 2, "sep_token_id": 3},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "roberta": {"max_position_embeddings": 66},
}
HEADS = ("", "ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForQuestionAnswering")


@pytest.mark.parametrize("positions", [1, 2])
def test_a_model_of_few_positions_may_run_without_padding(positions: int) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("llama", **SIZES | {"max_position_embeddings": positions})
    assert use_padding_free(AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")) == ""


def small(architecture: str, head: str = "") -> Any:
    import transformers

    config = transformers.CONFIG_MAPPING[architecture](**SIZES | MORE.get(architecture, {}))
    auto = getattr(transformers, f"AutoModel{head}")
    if type(config) not in auto._model_mapping:
        pytest.skip(f"{architecture} has no such head")
    torch.manual_seed(0)
    return auto.from_config(config, dtype=torch.float64, attn_implementation="sdpa").eval()


def a_batch(*, left: bool = False) -> dict[str, torch.Tensor]:
    places = torch.arange(max(LENGTHS)).expand(len(LENGTHS), -1)
    lengths = torch.tensor(LENGTHS)[:, None]
    mask = places >= max(LENGTHS) - lengths if left else places < lengths
    ids = torch.randint(5, 100, mask.shape, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids.where(mask, 1), "attention_mask": mask.long()}


def outputs_and_gradients(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    real = batch["attention_mask"].bool()
    outputs = [each for each in model(**batch).values() if torch.is_tensor(each)]
    outputs = [each[real] if each.shape[:2] == real.shape else each for each in outputs]
    weights = [torch.arange(each.numel()).double().sin().view(each.shape) for each in outputs]
    model.zero_grad()
    torch.stack(
        [(each * weight).sum() for each, weight in zip(outputs, weights, strict=True)]
    ).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return outputs, gradients


def assert_same(model: Any, batch: dict[str, torch.Tensor], *, rtol: float = 1e-10) -> None:
    outputs, gradients = outputs_and_gradients(model, batch)
    assert use_padding_free(model) == ""
    assert is_padding_free(model)
    flat_outputs, flat_gradients = outputs_and_gradients(copy.deepcopy(model), batch)
    torch.testing.assert_close(flat_outputs, outputs, rtol=rtol, atol=rtol)
    torch.testing.assert_close(flat_gradients, gradients, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_outputs_and_gradients_are_those_of_the_padded_model(architecture: str, head: str) -> None:
    rtol = (
        1e-5 if architecture == "gemma3_text" else 1e-10
    )  # it normalises in float32, whatever the model is in
    assert_same(small(architecture, head), a_batch(), rtol=rtol)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_document_is_a_row_already(architecture: str) -> None:
    assert_same(small(architecture), {name: rows[:1] for name, rows in a_batch().items()}, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama"])
def test_padding_on_the_left_and_checkpointed_layers_are_no_exception(architecture: str) -> None:
    model = small(architecture, "ForTokenClassification").train()  # only then layers are checkpointed
    for dropout in (each for each in model.modules() if isinstance(each, torch.nn.Dropout)):
        dropout.p = 0.0
    batch = a_batch(left=True)
    # A padded BERT numbers the padding's positions too; told them, it computes what the row computes.
    batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0) + 2 * (
        architecture == "roberta"
    )
    expected = outputs_and_gradients(model, batch)
    del batch["position_ids"]
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert use_padding_free(model) == ""
    torch.testing.assert_close(outputs_and_gradients(model, batch), expected, rtol=1e-10, atol=1e-10)


def losses_of_training(
    architecture: str, *, steps: int, dtype: torch.dtype, padding_free: bool
) -> list[float]:
    """Losses over some steps of AdamW, with other lengths and tokens each; a label is a token's parity."""
    model = small(architecture, "ForTokenClassification").to(dtype).train()
    if padding_free:
        assert use_padding_free(model) == ""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    numbers = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(steps):
        lengths = torch.randint(1, 24, (4, 1), generator=numbers)
        mask = torch.arange(24).expand(4, -1) < lengths
        ids = torch.randint(5, 100, mask.shape, generator=numbers).where(mask, 1)
        logits = model(input_ids=ids, attention_mask=mask.long()).logits
        loss = torch.nn.functional.cross_entropy(logits[mask], ids[mask] % 2)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [(torch.float64, 200, 1e-8), (torch.float32, 50, 1e-5)], ids=str
)
@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_a_training_follows_the_curve_of_the_padded_one(
    architecture: str, dtype: torch.dtype, steps: int, tolerance: float
) -> None:
    padded, flat = (
        losses_of_training(architecture, steps=steps, dtype=dtype, padding_free=padding_free)
        for padding_free in (False, True)
    )
    assert padded[-1] < 0.95 * padded[0]
    assert flat == pytest.approx(padded, rel=tolerance)


@pytest.mark.parametrize("architecture", ["t5", "mpnet", "deberta-v2", "opt"])
def test_an_architecture_that_would_compute_other_numbers_stays_padded(architecture: str) -> None:
    import transformers

    sizes = dict.fromkeys(["num_layers", "num_hidden_layers", "num_heads", "num_attention_heads"], 1)
    sizes |= dict.fromkeys(["d_model", "hidden_size", "intermediate_size", "vocab_size", "d_kv"], 16)
    config = transformers.CONFIG_MAPPING[architecture](**sizes | {"pad_token_id": 1})
    model = transformers.AutoModel.from_config(config)
    before = model.config._attn_implementation
    assert architecture in use_padding_free(model)
    assert not is_padding_free(model)
    assert model.config._attn_implementation == before


def test_a_model_that_differs_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small("bert"), a_batch()
    expected = outputs_and_gradients(model, batch)
    monkeypatch.setattr(
        "runwright.model.padding_free._band", lambda length, *_, **__: torch.eye(length).bool()
    )
    assert "computes other numbers without padding" in use_padding_free(model)
    torch.testing.assert_close(outputs_and_gradients(model, batch), expected, rtol=0, atol=0)


def test_it_draws_nothing_and_is_not_saved(tmp_path: Any) -> None:
    model = small("bert").train()
    state = torch.get_rng_state()
    use_padding_free(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
