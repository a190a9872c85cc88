"""Tasks that answer a prompt with a text: losses by teacher forcing, then texts by a decoding strategy.

Losses of target tokens are taken without the logits of a whole microbatch in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from runwright.errors import ConfigError
from runwright.generation.decode import generate
from runwright.model.parameters import without_adapters
from runwright.predictions import Ragged, evenly_spaced
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.losses import one_by_one, takes_batch
from runwright.task.text import IGNORED, as_texts, num_targets, positions_of, sums_by_row
from runwright.types import Batch, Example, LossSum, PerExample

END = -1  # of one of the texts of an example, in Texts.generated
NUM_SAMPLES = 10  # texts shown at each evaluation
MAX_SHOWN = 300  # characters of each, the last ones of a prompt
# Logits at a time, rounded up: more than 32 MB in float32, which glibc gives back at once. A little less lay
# on its heap and took 1,060 MB rather than 70 in the forward of 8,192 tokens over V = 32,000.
PIECE = (1 << 23) + 1
LAST_TOKEN_FIRST = ("mbart", "plbart")  # architectures whose decoder starts with the last token of the target
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-6}  # of the largest logit; less exact dtypes: 0.02

_by_pieces: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # models whose logits were compared with ours


class TargetTask(Task):
    """A task that `forward` gives the losses of its target tokens [M] in nats, in the order of the batch.

    Its batches have `labels` [B, L], the target token of each position or IGNORED, where targets are known.
    """

    prediction_type = PerExample
    label_smoothing = 0.0

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `labels` [B, T] int64, the `target_ids` of the examples, where they have some."""
        batch = super().collate(examples)
        if "target_ids" in examples[0]:
            targets = [torch.tensor(example["target_ids"]) for example in examples]
            labels = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
            length = self.pad_to(labels.shape[1], self.max_target_length)
            batch["labels"] = F.pad(labels, (0, length - labels.shape[1]), value=IGNORED)
        return batch

    def count(self, examples: Sequence[Example]) -> float:
        return num_targets(examples)

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over target tokens in nats, from their losses [M]."""
        return LossSum(total=outputs.sum(), count=float(outputs.numel()))

    def predictions(self, outputs: Tensor, batch: Batch) -> Any:
        """Losses of each example, from those of its target tokens [M]."""
        losses, counts = sums_by_row(outputs, batch["labels"] != IGNORED)
        ids = batch["example_ids"].cpu().numpy()
        return self.prediction_type(example_ids=ids, losses=losses, loss_counts=counts)

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """Losses of the target tokens [M] in nats; smoothed, or those of task.loss, in training only."""
        has_decoder = self.auto_class == "AutoModelForSeq2SeqLM"
        inputs = decoder_inputs(batch, model.config) if has_decoder else model_inputs(batch)
        if model.training and (loss := self.loss_option) is not None:
            options: Any = {"loss": partial(one_by_one, loss, batch=batch), "whole": takes_batch(loss)}
        else:
            options = {"label_smoothing": self.label_smoothing if model.training else 0.0}
        return token_losses(model, inputs, batch["labels"], **options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts(PerExample):
    """Texts for N prompts; losses are sums over target tokens in nats, `loss_counts` tokens."""

    generated: Ragged | None = None  # [N] rows of int64 ids, END after each text; None without a strategy
    # What a task assembles of them and the rows:
    predicted: np.ndarray | None = None  # [N] object: str, or a list of them; None: nothing was generated
    expected: Any = None  # [N] object: list of str, one or more references
    prompts: Any = None  # [N] object: str


class GeneratingTask(TargetTask):
    """A task whose predictions are texts."""

    problem = "texts"
    prediction_type = Texts
    generates = True
    forced_bos: int | None = None  # first token of every text of an encoder-decoder, as of its language

    def __init__(self, tokenizer: Any, *, text_columns: Sequence[str], max_length: int) -> None:
        super().__init__(tokenizer, text_columns=text_columns, max_length=max_length)
        self.writer: Any = tokenizer  # of the texts that are written

    def prompts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Ids and attention mask [B, P] of what the model is to go on from."""
        return batch["input_ids"], batch["attention_mask"]

    def references(self, rows: Any) -> list[list[str]] | None:
        """Expected texts of each row (columns by name), one or more; None where the rows have none."""
        raise NotImplementedError

    def prompt_texts(self, rows: Any) -> list[str]:
        """The prompt of each row, to be shown beside the answer."""
        columns = [as_texts(rows[name][:]) for name in self.text_columns]
        return ["\n".join(texts) for texts in zip(*columns, strict=True)]

    def evaluation_widths(self, widths: np.ndarray) -> np.ndarray:
        """With the new tokens of each of its texts."""
        if self.strategy is None:
            return widths
        copies = max(self.strategy.num_sequences, getattr(self.strategy, "num_beams", 1))
        return (widths.reshape(len(widths), -1).sum(axis=1) + self.strategy.max_new_tokens) * copies

    def evaluate_batch(self, model: Any, batch: Batch) -> Texts:
        """Losses where targets are known, and texts where there is a strategy."""
        ids = batch["example_ids"].cpu().numpy()
        results = super().evaluate_batch(model, batch) if "labels" in batch else Texts(example_ids=ids)
        return results if self.strategy is None else replace(results, generated=self.generate(model, batch))

    def generate(
        self, model: Any, batch: Batch, *, on_tokens: Callable[[list[int]], None] | None = None
    ) -> Ragged:
        """The texts of each prompt of a batch as ids, END after each; `on_tokens` as `decode.generate`."""
        options: Any = {"strategy": self.strategy, "tokenizer": self.writer, "on_tokens": on_tokens}
        options |= {"example_ids": batch["example_ids"].tolist(), "forced_bos": self.forced_bos}
        texts = generate(model, *self.prompts(batch), **options)
        rows = [[token for ids in sequences for token in (*ids, END)] for sequences in texts]
        return Ragged.of(rows, dtype=np.int64)

    def text_of(self, ids: Sequence[int]) -> str:
        """Generated ids as a text without special tokens, up to the first stop string."""
        text = self.writer.decode(ids, skip_special_tokens=True)
        stops = [text.find(stop) for stop in (self.strategy.stop_strings if self.strategy else ())]
        return text[: min((start for start in stops if start >= 0), default=len(text))].strip()

    def assemble(self, predictions: Texts, rows: Any) -> Texts:
        """Texts beside their references; an example is a row."""
        positions = positions_of(predictions.example_ids, rows)
        columns: dict[str, Any] = {"expected": self.references(rows), "prompts": self.prompt_texts(rows)}
        for name, values in columns.items():
            if values is not None:
                columns[name] = np.fromiter((values[i] for i in positions), dtype=object)
        return replace(predictions, generated=None, predicted=self._texts(predictions), **columns)

    def assemble_records(self, predictions: Texts, columns: Mapping[str, Sequence[Any]]) -> Texts:
        return replace(predictions, predicted=self._texts(predictions))

    def _texts(self, predictions: Texts) -> np.ndarray | None:
        if predictions.generated is None:
            return None
        texts: list[Any] = []
        for row in predictions.generated.rows():
            sequences = np.split(row, np.flatnonzero(row == END) + 1)[:-1]
            decoded = [self.text_of(ids[:-1].tolist()) for ids in sequences]
            texts.append(decoded if self.strategy.num_sequences > 1 else decoded[0])
        return np.fromiter(texts, dtype=object)

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
        samples = []
        for index in evenly_spaced(len(predictions.example_ids), NUM_SAMPLES).tolist():
            prompt = "" if predictions.prompts is None else predictions.prompts[index][-MAX_SHOWN:]
            described = self.describe(predictions, index, row={}, all_scores=False)
            texts = {"prompt": prompt, "expected": "", **described}.items()
            columns = {name: text if isinstance(text, str) else " | ".join(text) for name, text in texts}
            samples.append({"row_id": int(predictions.example_ids[index]), **columns})
        return samples


# --- losses of target tokens ------------------------------------------------------------------------------


def token_losses(
    model: Any,
    inputs: Batch,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    loss: Any = None,
    whole: bool = False,
) -> Tensor:
    """Losses in nats of the M labels [B, L] that are not -100, in their order: [M], at least in float32.

    Labels are shifted already, `inputs` are the model's arguments. The head sees the states of the targets
    alone, some at a time, and computes them again in the backward; `whole`: at once. With label smoothing a
    loss is that of a target that has 1 - smoothing, and an equal share of the rest on every token of the
    vocabulary. `loss` is another function of logits [M, V] and labels [M].
    """
    inner = without_adapters(model)
    head, targets = inner.get_output_embeddings(), labels != IGNORED
    goal = labels[targets]
    loss = loss or partial(F.cross_entropy, reduction="none", label_smoothing=label_smoothing)
    finish = _finisher(inner)
    losses: list[Tensor] = []
    last: list[Tensor] = []  # our logits of the last target, compared with the model's

    def pick(module: Any, args: tuple[Any, ...]) -> Any:
        if not args or args[0].shape[:2] != labels.shape:
            return None
        states = args[0][targets]

        def piece_losses(logits: Tensor, goal: Tensor) -> Tensor:
            return loss(at_least_float32(finish(logits)), goal)

        losses.append(_Pieces.apply(states, module.weight, module.bias, goal, piece_losses))  # pyright: ignore
        if inner not in _by_pieces:
            last.append(finish(module.forward(states[None, -1:])).detach())
        return (states[None, -1:], *args[1:])  # keeps the head in the graph, as sharded models want

    if type(head) is torch.nn.Linear and not whole and _by_pieces.get(inner, True):
        with head.register_forward_pre_hook(pick):
            logits = model(**inputs, use_cache=False).logits
        if last and last[0].numel():
            difference = float((last[0] - logits.detach()).abs().max() / last[0].abs().max().clamp(min=1e-9))
            _by_pieces[inner] = difference <= TOLERANCES.get(logits.dtype, 0.02)
        if losses and _by_pieces.get(inner, True):
            return losses[0] + 0.0 * logits.sum()
        _by_pieces[inner] = False
    # a head that computes something else
    return loss(at_least_float32(model(**inputs, use_cache=False).logits[targets]), goal)


def decoder_inputs(batch: Batch, config: Any) -> Batch:
    """The arguments of an encoder-decoder whose targets are the labels of a batch."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return inputs | {"decoder_input_ids": shifted_right(batch["labels"], config)}


def shifted_right(labels: Tensor, config: Any) -> Tensor:
    """Decoder inputs [B, T]: the labels one place later, behind the architecture's start token.

    Labels of -100 become padding, which no earlier token sees. Raises ConfigError without a start token.
    """
    inputs = labels.new_full(labels.shape, config.pad_token_id)
    inputs[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, config.pad_token_id)
    start = getattr(config, "decoder_start_token_id", None)
    if config.model_type in LAST_TOKEN_FIRST:
        last = (labels != IGNORED).sum(dim=1, keepdim=True) - 1
        inputs[:, :1] = labels.gather(1, last)
    elif start is None:
        raise ConfigError("model.name: its config.json has no decoder_start_token_id; add it there")
    else:
        inputs[:, 0] = start
    return inputs


def _finisher(model: Any) -> Callable[[Tensor], Tensor]:
    """The function by which the model's forward scales, shifts and caps the output of its head."""
    config = model.config.get_text_config(decoder=True)
    factor = getattr(config, "logit_scale", None)  # Cohere
    divisor = getattr(config, "logits_scaling", None)  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    bias = getattr(model, "final_logits_bias", None)  # BART, Marian

    def finish(logits: Tensor) -> Tensor:
        logits = logits if factor is None else logits * factor
        logits = logits if divisor is None else logits / divisor
        logits = logits if cap is None else torch.tanh(logits / cap) * cap
        return logits if bias is None else logits + bias[0]

    return finish


class _Pieces(torch.autograd.Function):
    """Losses of states [M, D] under weight [V, D] and bias, with logits of a few at a time.

    torch's linear_cross_entropy gives bfloat16 losses for such states and takes no soft-capping; a loop of
    checkpoints kept a gradient of the weight for each piece (1.3 GB at V = 32,000 and M = 8,192).
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Any, goal: Tensor, loss: Any) -> Tensor:
        ctx.save_for_backward(states, weight, bias, goal)
        device = states.device.type
        autocast = torch.is_autocast_enabled(device)
        ctx.loss, ctx.dtype = loss, torch.get_autocast_dtype(device) if autocast else states.dtype
        table, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        size = -(-PIECE // len(weight))
        pieces = zip(states.to(ctx.dtype).split(size), goal.split(size), strict=True)
        return torch.cat([loss(F.linear(some, table, shift), goals) for some, goals in pieces])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        states, weight, bias, goal = ctx.saved_tensors
        table, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        to_states = torch.empty_like(states)
        # None where they are frozen, as beside adapters: a third of the work.
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        size = -(-PIECE // len(weight))
        for start in range(0, len(states), size):
            piece = slice(start, start + size)
            some = states[piece].to(ctx.dtype)
            logits = F.linear(some, table, shift).requires_grad_()
            with torch.enable_grad():
                losses = ctx.loss(logits, goal[piece])
            (slope,) = torch.autograd.grad(losses, logits, gradients[0][piece])
            to_states[piece] = slope @ table
            if to_weight is not None and weight.dtype == ctx.dtype:
                to_weight.addmm_(slope.T, some)
            elif to_weight is not None:
                to_weight += slope.T @ some
            if to_bias is not None:
                to_bias += slope.sum(dim=0)
        return to_states, to_weight, to_bias, None, None
