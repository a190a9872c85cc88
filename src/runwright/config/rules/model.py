"""Rules about the sizes in `model.config` of a model from scratch, in the names of transformers."""

from __future__ import annotations

from typing import Any

from runwright.config.rules.makers import Mistakes, as_dict, is_number
from runwright.errors import Mistake, shown

SIZES = ("hidden_size", "embedding_size", "intermediate_size", "num_attention_heads", "dim", "hidden_dim")
SIZES += ("n_heads", "n_embd", "n_head", "n_positions", "max_position_embeddings")
# Architectures whose heads share the hidden size, with the positions that padding takes from the text.
PADDED = dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), 2)
SHARED = PADDED | dict.fromkeys(("bert", "electra", "albert", "distilbert", "gpt2", "ernie"), 0)
SHARED |= dict.fromkeys(("llama", "qwen2", "mistral"), 0)
FROM_TASK = ("num_labels", "id2label", "label2id", "problem_type")


def sizes_fit(architecture: Any, config: Any, length: Any) -> Mistakes:
    config = as_dict(config)
    for name, value in config.items():
        key = f"model.config.{name}"
        if name in (*FROM_TASK, "vocab_size") or name.endswith("_token_id"):
            source = "the task" if name in FROM_TASK else "the tokenizer"
            yield Mistake(key, shown(value), f"no such key: this follows from {source}; leave it out")
        elif name == "max_position_embeddings" and value is None:
            continue  # as many as the task needs
        elif name in SIZES and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            yield Mistake(key, shown(value), "a whole number >= 1")
        elif ("dropout" in name or "pdrop" in name) and is_number(value) and not 0 <= value <= 1:
            yield Mistake(key, shown(value), "a probability from 0 to 1")
    if not isinstance(architecture, str) or architecture not in SHARED:
        return
    for name, of in (("hidden_size", "num_attention_heads"), ("dim", "n_heads"), ("n_embd", "n_head")):
        size, heads = config.get(name), config.get(of)
        if isinstance(size, int) and isinstance(heads, int) and heads > 0 < size and size % heads:
            near = max(number for number in range(1, heads) if size % number == 0)
            yield Mistake(
                f"model.config.{of}", shown(heads), f"one that divides {name}={size}, such as {near}"
            )
    positions = config.get("n_positions", config.get("max_position_embeddings"))
    if is_number(positions) and is_number(length) and length > (limit := positions - SHARED[architecture]):
        expected = f"at most {limit}: {architecture} has model.config.max_position_embeddings={positions}"
        yield Mistake("task.max_length", shown(length), expected)
