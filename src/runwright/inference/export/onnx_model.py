"""An export in the place of the transformers model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, DynamicCache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.utils.generic import ModelOutput

from runwright.errors import ConfigError

# Names of a cache's tensors, the first two as onnxruntime-genai has them.
PAST, PRESENT, CROSS = "past_key_values", "present", "cross"


class OnnxModel(PreTrainedModel, GenerationMixin):
    """Called like the model and with its outputs; `generate` is transformers', over the exported graphs.

    The weights are onnxruntime's, on the CPU: it has no parameters. A program of torch.export, which is
    unpickled, stands in the same place.
    """

    device: Any = torch.device("cpu")  # of no parameter
    dtype: Any = torch.float32

    def __init__(self, folder: Path, about: Mapping[str, Any], *, num_threads: int) -> None:
        super().__init__(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        with suppress(OSError, ValueError):
            self.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        self.kind: str = about["kind"]  # plain; decoder, genai: with a cache; seq2seq: two graphs
        self.one_by_one = self.kind == "genai"  # its attention takes no padding before a text
        self.cache_shape: list[int] = about["cache_shape"]  # layers, heads, size of a head
        self.num_positions: int | None = about["num_positions"][0]
        name = "decoder.onnx" if self.kind == "seq2seq" else "model.onnx"
        self.names = about.get("outputs", ())
        self.session: Any = None
        self.encoder: Any = None
        if about["format"] == "torch":
            self.program = torch.export.load(folder / "model.pt2").module()
            return
        self.session = _open(folder / name, num_threads)
        if self.kind == "seq2seq":
            self.encoder = Encoder(_open(folder / "encoder.onnx", num_threads), about["num_positions"])
            self.num_positions = about["num_positions"][1]

    def get_encoder(self, *_: Any, **__: Any) -> Any:
        return self.encoder

    def get_decoder(self, *_: Any, **__: Any) -> Any:
        return self

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        **_: Any,
    ) -> ModelOutput:
        """Outputs by name; texts go on behind `past_key_values`, which come back longer."""
        if attention_mask is None and input_ids is not None:  # `generate` leaves out one of ones
            length = past_key_values.get_seq_length() if past_key_values is not None else 0
            attention_mask = input_ids.new_ones(len(input_ids), length + input_ids.shape[1])
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        if self.session is None:
            tensors = self.program(**{name: tensor for name, tensor in inputs.items() if tensor is not None})
            return ModelOutput(zip(self.names, tensors, strict=True))
        if self.kind == "plain":
            return _run(self.session, inputs)
        states: Mapping[str, Tensor] = {}
        if self.encoder is not None:
            states = encoder_outputs or self.encoder(input_ids=input_ids, attention_mask=attention_mask)
            inputs["input_ids"] = decoder_input_ids
        cross = {name: tensor for name, tensor in states.items() if name.startswith(CROSS)}
        outputs = _run(self.session, inputs | cross | self._past(past_key_values, inputs["input_ids"]))
        layers = range(self.cache_shape[0])
        pairs = [tuple(outputs[f"{PRESENT}.{i}.{kind}"] for kind in ("key", "value")) for i in layers]
        return ModelOutput(logits=outputs["logits"], past_key_values=DynamicCache(pairs), **states)

    def _past(self, cache: Any, input_ids: Any) -> dict[str, Tensor]:
        """Keys and values [B, heads, P, size] by name; of length 0 at the beginning."""
        num_layers, heads, size = self.cache_shape
        empty, names = torch.zeros(len(input_ids), heads, 0, size), ("key", "value")
        filled = cache.layers if cache is not None and cache.get_seq_length() else ()
        pairs = [(layer.keys, layer.values) for layer in filled] or [(empty, empty)] * num_layers
        return {
            f"{PAST}.{i}.{n}": t for i, pair in enumerate(pairs) for n, t in zip(names, pair, strict=True)
        }


class Encoder(torch.nn.Module):
    """States of the encoder, with the keys and values that the decoder's layers make of them."""

    main_input_name = "input_ids"

    def __init__(self, session: Any, num_positions: list[int | None]) -> None:
        super().__init__()
        self.session = session
        self.num_positions = num_positions[0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> ModelOutput:
        return _run(self.session, {"input_ids": input_ids, "attention_mask": attention_mask})


def _open(file: Path, num_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{file} needs onnxruntime: pip install 'runwright[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{file.name}: {error}") from error  # as a damaged file of weights


def _run(session: Any, inputs: Mapping[str, Any]) -> ModelOutput:
    """Outputs of a graph by name; a kind of token that is not told is the first."""
    names = [entry.name for entry in session.get_inputs()]
    ids = inputs["input_ids"]
    feed = {name: inputs[name] if inputs[name] is not None else torch.zeros_like(ids) for name in names}
    outputs = session.run(None, {name: tensor.contiguous().numpy() for name, tensor in feed.items()})
    tensors = map(torch.from_numpy, outputs)
    return ModelOutput(zip([entry.name for entry in session.get_outputs()], tensors, strict=True))
