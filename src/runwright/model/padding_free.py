"""Execution without padding: the tokens of a batch as one row, with attention inside each document alone.

Hooks of the model's body turn a padded batch [B, L] into one row [1, T] of its T real tokens and the states
back into [B, L, D], zero at the padding, so that every head works as usual. transformers' AttentionInterface
carries the attention: no model code is copied.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from runwright.model.configuration import is_outline, log
from runwright.model.parameters import without_adapters

NAME = "padding_free"  # as transformers calls this attention; it is not saved in a config.json

# Architectures whose attention takes its keywords from the call and whose positions are an argument. Not T5
# (a relative bias from the length of the row), BART (no positions to give), DeBERTa and MPNet (attention of
# their own), OPT (its head goes past the body).
ARCHITECTURES = (
    *("albert", "bert", "distilbert", "electra", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral"),
    *("modernbert", "qwen2", "qwen3", "roberta", "xlm-roberta"),
)
# Of the largest output, in the self-check: sums in another order, and no more.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True, slots=True)
class Documents:
    """Layout of a padded batch [B, L] of which the real tokens were taken."""

    shape: tuple[int, int]
    index: Tensor  # [T] int64, positions of the real tokens in B * L
    lengths: list[int]  # of each document that has a token, in their order


def use_padding_free(model: Any) -> str:
    """Let a transformers model run without padding on a CPU; the reason where it cannot, else an empty text.

    The model is compared with itself on two documents first, and left as it was where it differs. On another
    device it runs padded: a call for each document would cost more there than the padding.
    """
    reason = "" if is_outline(model) else _use(without_adapters(model))
    if reason:
        log.info("texts are padded: %s", reason)
    return reason


def _use(model: Any) -> str:
    config: Any = getattr(model, "config", None)
    architecture = getattr(config, "model_type", type(model).__name__)
    if architecture not in ARCHITECTURES:
        return f"{architecture} is not known to run without padding"
    if config._attn_implementation != "sdpa":
        return f"its attention is {config._attn_implementation}"
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)
    body = model.base_model
    batch = _two_documents(config, next(model.parameters()).device)
    expected = _outputs(model, batch)
    hooks = [
        body.register_forward_pre_hook(_flatten, with_kwargs=True),
        body.register_forward_hook(_unflatten, with_kwargs=True),
    ]
    model.set_attn_implementation(NAME)
    difference = float((_outputs(model, batch) - expected).abs().max() / expected.abs().max())
    if difference <= TOLERANCES[expected.dtype]:
        return ""
    model.set_attn_implementation("sdpa")
    for hook in hooks:
        hook.remove()
    return f"{type(model).__name__} computes other numbers without padding, by {difference:.1e}"


def is_padding_free(model: Any) -> bool:
    on_cpu = next(model.parameters()).device.type == "cpu"
    return on_cpu and getattr(getattr(model, "config", None), "_attn_implementation", None) == NAME


def _two_documents(config: Any, device: torch.device) -> dict[str, Tensor]:
    """A batch of two lengths; the first document is longer than a window of the attention."""
    window = getattr(config, "sliding_window", None) or 6
    length = max(1, min(window + 5, config.max_position_embeddings - 2))
    ids = torch.arange(2 * length, device=device).view(2, length) * 7 % (config.vocab_size - 5) + 5
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, config.pad_token_id or 0), "attention_mask": mask}


@torch.inference_mode()
def _outputs(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Logits or states of both documents, without padding; nothing is drawn from a generator."""
    was_training = model.training
    outputs = model.eval()(**batch)[0]
    model.train(was_training)
    mask = batch["attention_mask"]
    return outputs[mask.bool()] if outputs.shape[:2] == mask.shape else outputs


def _flatten(body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A hook before the body: the real tokens as one row, with positions that restart."""
    ids = args[0] if args else kwargs["input_ids"]
    if body.config._attn_implementation != NAME:
        return None
    if ids.device.type != "cpu":
        body.set_attn_implementation("sdpa")
        return None
    mask = kwargs.get("attention_mask")
    kwargs |= {"input_ids": ids, "attention_mask": None}
    if "use_cache" in kwargs or getattr(body.config, "use_cache", False):
        kwargs["use_cache"] = False
    if len(ids) == 1 and (mask is None or mask.all()):  # one document is a row of real tokens already
        return (), kwargs
    mask = torch.ones_like(ids) if mask is None else mask
    index = mask.flatten().nonzero()[:, 0]
    lengths = [length for length in mask.sum(dim=1).tolist() if length]

    def row(values: Tensor) -> Tensor:
        return values.flatten()[index][None]

    embeddings: Any = getattr(body, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_input_ids"):  # RoBERTa's count on from the padding
        positions = embeddings.create_position_ids_from_input_ids(ids, embeddings.padding_idx)
    else:
        positions = mask.cumsum(dim=1) - 1
    kwargs |= {
        "input_ids": row(ids),
        "position_ids": row(positions),
        "documents": Documents(shape=(ids.shape[0], ids.shape[1]), index=index, lengths=lengths),
    }
    if kwargs.get("token_type_ids") is not None:
        kwargs["token_type_ids"] = row(kwargs["token_type_ids"])
    return (), kwargs


def _unflatten(body: Any, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """A hook after the body: the states where their tokens were, and what is pooled from them."""
    documents: Documents | None = kwargs.get("documents")
    if documents is None:
        return output
    rows, width = documents.shape
    states = output.last_hidden_state[0]
    padded = states.new_zeros(rows * width, states.shape[-1]).index_copy(0, documents.index, states)
    output["last_hidden_state"] = padded = padded.view(rows, width, -1)
    if output.get("pooler_output") is not None:  # of the first document alone
        if hasattr(body, "pooler_activation"):  # ALBERT's
            output["pooler_output"] = body.pooler_activation(body.pooler(padded[:, 0]))
        else:
            output["pooler_output"] = body.pooler(padded)
    return output


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,  # there is none for an attention that has no maker of masks
    *,
    documents: Documents | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of each document with itself; query, key and value [1, H, T, D], the result [1, T, H, D]."""
    causal = module.is_causal if is_causal is None else is_causal
    # None: one document, or a head that goes past the hooks: it has lost its mask, and the self-check sees it
    lengths, rows = documents.lengths if documents else [], (query, key, value)
    gqa = query.shape[1] != key.shape[1]
    attend = partial(scaled_dot_product_attention, dropout_p=dropout, scale=scaling, enable_gqa=gqa)
    parts = []
    # One call for each length would gain nothing: 0 to -10 %, measured on two threads.
    for q, k, v in zip(*(x.split(lengths, dim=2) for x in rows), strict=True) if lengths else [rows]:
        band = _band(q.shape[2], sliding_window, causal=causal, device=q.device)
        parts.append(attend(q, k, v, attn_mask=band, is_causal=causal and band is None))
    return (torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]).transpose(1, 2), None


def _band(length: int, window: int | None, *, causal: bool, device: torch.device) -> Tensor | None:
    """[L, L] bool, True where a token sees another one of its window; None where it sees all."""
    if not window or length <= window:
        return None
    positions = torch.arange(length, device=device)
    distance = positions[:, None] - positions
    near = distance.abs() < window
    return near & (distance >= 0) if causal else near
