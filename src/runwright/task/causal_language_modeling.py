"""Next tokens of plain texts: language models from scratch, or fine-tuned on the texts of a domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from runwright.predictions import Ragged, columns_of, evenly_spaced
from runwright.task.generating import MAX_SHOWN, NUM_SAMPLES, GeneratingTask, Texts
from runwright.task.masking import cut_chunks
from runwright.task.text import IGNORED, MAX_WINDOWS, as_texts, pad_batch
from runwright.types import Batch, Example, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks(Texts):
    """Losses of N blocks; of those that are shown `prompts` and `expected`, what follows, as ids."""

    num_bytes: np.ndarray | None = None  # [N] int64, bytes of text that the target tokens stand for


class CausalLanguageModeling(GeneratingTask):
    """Cuts texts into blocks in which each token is predicted from those before it.

    Each token of a text and the end token behind it are a target once, the first one behind a start token.
    Rows that are joined are so in the order of the data, 1,000 at a time. Metrics count tokens, and there are
    no predictions of rows; with a strategy of `generation` some blocks are continued at each evaluation.
    """

    problem = "next_tokens"
    auto_class = "AutoModelForCausalLM"
    needs_token = ("eos", "sep")
    prediction_type = Blocks
    token_fields: ClassVar = {"labels": IGNORED}
    predicts_rows = False
    cuts_windows = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        text_column: str,
        max_length: PositiveInt,
        join_rows: bool,
        evaluation_stride: PositiveInt | None,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        begins = (tokenizer.bos_token_id, tokenizer.cls_token_id, end)
        self.start, self.end = next(token for token in begins if token is not None), end
        self.join_rows = join_rows
        self.evaluation_stride = evaluation_stride
        self.shown = np.empty(0, dtype=np.int64)  # examples whose prompts are continued

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """With a column `stride` of the new tokens in a block."""
        stride = self.max_length if split == "train" else self.evaluation_stride or self.max_length
        return super().inputs_of(rows, split=split).add_column("stride", [stride] * len(rows))  # pyright: ignore

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Blocks with the token after each one as `labels`, where no block before has it as a target."""
        chunks = cut_chunks(
            self.tokenizer,
            columns[self.text_columns[0]],
            columns["row_id"],
            size=self.max_length + 1,
            join_rows=self.join_rows,
            overlap=self.max_length + 1 - columns.get("stride", [self.max_length])[0],
            start=[self.start],
            end=[self.end],
        )
        return [
            {
                "example_id": chunk.example_id,
                "full_length": len(chunk.ids) - 1,
                "input_ids": chunk.ids[:-1],
                "labels": [*[IGNORED] * (chunk.num_old - 1), *chunk.ids[chunk.num_old :]],
                "num_bytes": chunk.num_bytes,
            }
            for chunk in chunks
        ]

    def encode_records(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Prompts behind a start token, to be continued."""
        texts = as_texts(columns[self.text_columns[0]])
        encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [
            {"example_id": row_id, "input_ids": [self.start, *ids], "full_length": len(ids) + 1}
            for row_id, ids in zip(columns["row_id"], encoded, strict=True)
        ]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Padded on the right, whichever side the tokenizer pads: positions count from the left."""
        batch = pad_batch(examples, self.tokenizer, self.token_fields, pad_to=self.pad_to, side="right")
        if "labels" in batch:
            batch["num_bytes"] = torch.tensor([example["num_bytes"] for example in examples])
        return batch

    def start_evaluation(self, example_ids: np.ndarray) -> None:
        """Choose the blocks that are continued, the same ones on each rank and each time."""
        self.shown = np.sort(example_ids)[evenly_spaced(len(example_ids), NUM_SAMPLES)]

    def evaluation_widths(self, widths: np.ndarray) -> np.ndarray:
        return widths  # few blocks are continued, each from its first half

    def evaluate_batch(self, model: Any, batch: Batch) -> Texts:
        """Losses of blocks with the texts of those that are shown, or texts for prompts."""
        if "labels" not in batch:
            return super().evaluate_batch(model, batch)
        outputs = self.forward(model, batch)
        is_shown = np.isin(batch["example_ids"].cpu().numpy(), self.shown)
        rows = np.flatnonzero(is_shown).tolist() if self.strategy else []
        names = ("prompts", "expected", "generated")
        lists: dict[str, list[Any]] = {name: [()] * len(batch["input_ids"]) for name in names}
        if rows:
            some = {name: tensor[rows] for name, tensor in batch.items()}
            masks = some["attention_mask"], self.prompts(some)[1]
            lengths, sizes = (mask.sum(dim=1).tolist() for mask in masks)
            texts, ids = self.generate(model, some).rows(), some["input_ids"].tolist()
            for row, line, length, size, text in zip(rows, ids, lengths, sizes, texts, strict=True):
                lists["prompts"][row], lists["expected"][row] = line[:size], line[size:length]
                lists["generated"][row] = text
        columns = columns_of(self.predictions(outputs, batch))
        columns |= {name: Ragged.of(values, dtype=np.int64) for name, values in lists.items()}
        return Blocks(**columns, num_bytes=batch["num_bytes"].cpu().numpy())

    def prompts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Records whole, and the first half of blocks."""
        mask = batch["attention_mask"]
        if "labels" in batch:
            mask = mask * (mask.cumsum(dim=1) <= (mask.sum(dim=1, keepdim=True) // 2).clamp(min=1))
        return batch["input_ids"], mask

    def references(self, rows: Any) -> None:
        return None

    def assemble(self, predictions: Any, rows: Any) -> Any:
        return predictions

    def samples(self, predictions: Any) -> list[dict[str, Any]]:
        """The first half of some blocks, the second, and what the model wrote instead."""
        if self.strategy is None:
            return []
        shown = np.flatnonzero(predictions.prompts.lengths)
        texts = self._texts(Texts(example_ids=shown, generated=predictions.generated[shown]))
        return [
            {
                "row_id": int(predictions.example_ids[index]) // MAX_WINDOWS,
                "prompt": self.tokenizer.decode(predictions.prompts.row(index))[-MAX_SHOWN:],
                "expected": self.tokenizer.decode(predictions.expected.row(index))[:MAX_SHOWN],
                "predicted": text if isinstance(text, str) else " | ".join(text),
            }
            for index, text in zip(shown.tolist(), () if texts is None else texts, strict=True)
        ]
