"""Hidden states of a model's layer in place of predictions (`--features`)."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from runwright.errors import ConfigError
from runwright.predictions import Ragged
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.sentence_embedding import SentenceEmbedding
from runwright.types import Batch, PerExample


@dataclass(frozen=True, kw_only=True, slots=True)
class States(PerExample):
    """Vectors for N texts."""

    vectors: Ragged  # [N] rows of [L, D] float32


def states_of_layer(model: Any, batch: Batch, *, layer: int | None) -> Tensor:
    """States [B, L, D] of a layer, of an encoder-decoder in its encoder; 0: embeddings, None: the last."""
    body = model.get_encoder() if model.config.is_encoder_decoder else model
    outputs = body(**model_inputs(batch), output_hidden_states=True)
    states = (*outputs.hidden_states[:-1], outputs.last_hidden_state)
    layer = -1 if layer is None else layer
    if not -len(states) <= layer < len(states):
        raise ConfigError(f"--layer: given {layer}, expected 0 (embeddings) to {len(states) - 1}")
    return at_least_float32(states[layer])


class TokenStates(Task):
    """A vector for each token of a text: the states that a task of sentence embedding would pool."""

    problem = "states"
    prediction_type = States

    def __init__(self, texts: SentenceEmbedding) -> None:
        super().__init__(texts.tokenizer, text_columns=texts.text_columns, max_length=texts.max_length)
        self.encode, self.collate, self.forward = texts.encode, texts.collate, texts.states

    def predictions(self, outputs: Tensor, batch: Batch) -> States:
        mask = batch["attention_mask"].bool()
        vectors = Ragged(outputs[mask].float().cpu().numpy(), mask.sum(dim=1).cpu().numpy())
        return States(example_ids=batch["example_ids"].cpu().numpy(), vectors=vectors)

    def describe(self, predictions: States, index: int, **_: Any) -> dict[str, Any]:
        return {"predicted": [[float(str(n)) for n in vector] for vector in predictions.vectors.row(index)]}
