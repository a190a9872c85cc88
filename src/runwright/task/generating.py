"""Tasks that answer a prompt with a text: losses by teacher forcing, then texts by a decoding strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from runwright.generation.decode import generate
from runwright.predictions import Ragged, columns_of, evenly_spaced
from runwright.task.text import as_texts, objects, positions_of
from runwright.task.token_losses import TargetTask
from runwright.types import Batch, PerExample

END = -1  # of one of the texts of an example, in GeneratedTexts.generated
NUM_SAMPLES = 10  # texts shown at each evaluation
MAX_SHOWN = 300  # characters of each, the last ones of a prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedTexts(PerExample):
    """Token ids generated for N prompts; losses are sums over target tokens in nats, `loss_counts` tokens."""

    generated: Ragged | None = None  # [N] rows of int64 ids, END after each text; None without a strategy


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts(PerExample):
    """Generated and expected texts of N rows."""

    predicted: np.ndarray | None  # [N] object: str, or a list of them; None where nothing was generated
    expected: np.ndarray | None = None  # [N] object: list of str, one or more references
    prompts: np.ndarray | None = None  # [N] object: str
    generated: Ragged | None = None  # of records to predict, as in GeneratedTexts

    @property
    def labelled(self) -> bool:
        """Return True if there are references, or losses of target tokens."""
        return self.expected is not None or self.losses is not None


class GeneratingTask(TargetTask):
    """A task whose predictions are texts."""

    problem = "texts"
    prediction_type = GeneratedTexts
    generates = True

    @property
    def writer(self) -> Any:
        """The tokenizer of the texts that are written."""
        return self.tokenizer

    def prompts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Ids and attention mask [B, P] of what the model is to go on from."""
        return batch["input_ids"], batch["attention_mask"]

    def references(self, rows: Any) -> list[list[str]] | None:
        """Expected texts of each row (columns by name), one or more; None where the rows have none."""
        raise NotImplementedError

    def prompt_texts(self, rows: Any) -> list[str]:
        """What each row asks, to be shown beside the answer."""
        columns = [as_texts(rows[name][:]) for name in self.text_columns]
        return ["\n".join(texts) for texts in zip(*columns, strict=True)]

    def forced_bos(self) -> int | None:
        """The first token of every text of an encoder-decoder, such as that of its language."""
        return None

    def evaluation_widths(self, widths: np.ndarray) -> np.ndarray:
        """With the new tokens of each of its texts."""
        if self.strategy is None:
            return widths
        copies = max(self.strategy.num_sequences, getattr(self.strategy, "num_beams", 1))
        return (widths.reshape(len(widths), -1).sum(axis=1) + self.strategy.max_new_tokens) * copies

    def evaluate_batch(self, model: Any, batch: Batch) -> GeneratedTexts:
        """Losses where targets are known, and texts where there is a strategy."""
        if "labels" in batch:
            results = super().evaluate_batch(model, batch)
        else:
            results = GeneratedTexts(example_ids=batch["example_ids"].cpu().numpy())
        if self.strategy is None:
            return results
        return replace(results, generated=self.generate(model, batch))

    def generate(
        self, model: Any, batch: Batch, *, on_tokens: Callable[[list[int]], None] | None = None
    ) -> Ragged:
        """The texts of each prompt of a batch as ids, END after each; `on_tokens` as `decode.generate`."""
        options: Any = {"strategy": self.strategy, "tokenizer": self.writer, "on_tokens": on_tokens}
        options |= {"example_ids": batch["example_ids"].tolist(), "forced_bos": self.forced_bos()}
        texts = generate(model, *self.prompts(batch), **options)
        rows = [[token for ids in sequences for token in (*ids, END)] for sequences in texts]
        return Ragged.of(rows, dtype=np.int64)

    def text_of(self, ids: Sequence[int]) -> str:
        """Generated ids as a text without special tokens, up to the first stop string."""
        text = self.writer.decode(ids, skip_special_tokens=True)
        stops = [text.find(stop) for stop in (self.strategy.stop_strings if self.strategy else ())]
        return text[: min((start for start in stops if start >= 0), default=len(text))].strip()

    def assemble(self, predictions: GeneratedTexts, rows: Any) -> Texts:
        """Texts beside their references; an example is a row."""
        positions = positions_of(predictions.example_ids, rows)
        references, prompts = self.references(rows), self.prompt_texts(rows)
        columns = columns_of(predictions)
        columns.pop("generated", None)
        return Texts(
            **columns,
            predicted=self._texts(predictions),
            expected=None if references is None else objects([references[i] for i in positions]),
            prompts=objects([prompts[i] for i in positions]),
        )

    def assemble_records(self, predictions: GeneratedTexts, columns: Mapping[str, Sequence[Any]]) -> Texts:
        texts = self._texts(predictions)
        return Texts(example_ids=predictions.example_ids, predicted=texts, generated=predictions.generated)

    def _texts(self, predictions: GeneratedTexts) -> np.ndarray | None:
        if predictions.generated is None:
            return None
        texts: list[Any] = []
        for row in predictions.generated.rows():
            sequences = np.split(row, np.flatnonzero(row == END) + 1)[:-1]
            decoded = [self.text_of(ids[:-1].tolist()) for ids in sequences]
            texts.append(decoded if self.strategy.num_sequences > 1 else decoded[0])
        return objects(texts)

    def describe(
        self, predictions: Texts, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The text, or a list of texts, and what was expected: a text where there is one."""
        described: dict[str, Any] = {}
        if predictions.predicted is not None:
            described["predicted"] = predictions.predicted[index]
        if predictions.expected is not None:
            references = predictions.expected[index]
            described["expected"] = references[0] if len(references) == 1 else references
        return described

    def tables(self, predictions: Texts) -> dict[str, list[dict[str, Any]]]:
        return {"samples": samples} if (samples := self.samples(predictions)) else {}

    def samples(self, predictions: Texts) -> list[dict[str, Any]]:
        """The texts of some rows, always the same ones, with the end of each prompt."""
        if predictions.predicted is None:
            return []
        total = len(predictions.example_ids)
        samples = []
        for index in evenly_spaced(total, NUM_SAMPLES).tolist():
            prompt = "" if predictions.prompts is None else predictions.prompts[index][-MAX_SHOWN:]
            described = self.describe(predictions, index, row={}, all_scores=False)
            texts = {"prompt": prompt, "expected": "", **described}.items()
            columns = {name: text if isinstance(text, str) else " | ".join(text) for name, text in texts}
            samples.append({"row_id": int(predictions.example_ids[index]), **columns})
        return samples
