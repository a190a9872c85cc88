"""States of a model in place of predictions: a vector for each token of a text, or one for the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.errors import ConfigError
from runwright.predictions import Ragged
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.sentence_embedding import SentenceEmbedding, pool
from runwright.types import Batch, PerExample


@dataclass(frozen=True, kw_only=True, slots=True)
class States(PerExample):
    """Vectors for N texts."""

    vectors: Ragged  # [N] rows of [L, D] float32; of pooled states [1, D]


class Features(Task):
    """The states of a layer, as they are or pooled as a task of sentence embedding pools them."""

    problem = "states"
    prediction_type = States

    def __init__(self, texts: SentenceEmbedding, *, pooled: bool, layer: int | None) -> None:
        super().__init__(texts.tokenizer, text_columns=texts.text_columns, max_length=texts.max_length)
        self.texts, self.pooled, self.layer = texts, pooled, layer
        self.encode, self.collate = texts.encode, texts.collate

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """States [B, L, D], at least in float32; of an encoder-decoder those of its encoder."""
        body = model.get_encoder() if model.config.is_encoder_decoder else model
        outputs = body(**model_inputs(batch), output_hidden_states=True)
        states = (*outputs.hidden_states[:-1], outputs.last_hidden_state)
        layer = -1 if self.layer is None else self.layer
        if not -len(states) <= layer < len(states):
            raise ConfigError(f"--layer: given {layer}, expected 0 (embeddings) to {len(states) - 1}")
        return at_least_float32(states[layer])

    def predictions(self, outputs: Tensor, batch: Batch) -> States:
        mask = batch["attention_mask"].bool()
        lengths = mask.sum(dim=1).cpu().numpy()
        vectors = outputs[mask]
        if self.pooled:
            vectors, lengths = pool(outputs, mask, how=self.texts.pooling), np.ones_like(lengths)
            vectors = F.normalize(vectors, dim=-1) if self.texts.normalize else vectors
        ids = batch["example_ids"].cpu().numpy()
        return States(example_ids=ids, vectors=Ragged(vectors.float().cpu().numpy(), lengths))

    def describe(
        self,
        predictions: States,
        index: int,
        *,
        row: Mapping[str, Any],  # noqa: ARG002 - as in every task
        all_scores: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The vectors, as short as a float32 can be written without losing a bit."""
        vectors = [[float(str(number)) for number in row] for row in predictions.vectors.row(index)]
        return {"predicted": vectors[0] if self.pooled else vectors}
