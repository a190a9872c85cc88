"""An export in the place of the transformers model that it was made from."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, DynamicCache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.utils.generic import ModelOutput

from runwright.errors import ConfigError, RunwrightError
from runwright.store import read_json

# Names of a cache's tensors, the first two as onnxruntime-genai has them.
PAST, PRESENT, CROSS = "past_key_values", "present", "cross"


class OnnxModel(PreTrainedModel, GenerationMixin):
    """Called like the model and with its outputs; `generate` is transformers', over the exported graphs.

    The weights are onnxruntime's, on the CPU: it has no parameters.
    """

    device: Any = torch.device("cpu")  # of no parameter
    dtype: Any = torch.float32

    def __init__(self, folder: Path, num_positions: Sequence[int | None], *, num_threads: int) -> None:
        super().__init__(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        with suppress(OSError, ValueError):
            self.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        # The attention of onnxruntime-genai takes no padding before a text.
        self.one_by_one = (folder / "genai_config.json").is_file()
        self.encoder: Any = None
        if (folder / "encoder.onnx").is_file():
            self.encoder = Encoder(_open(folder / "encoder.onnx", num_threads), num_positions[0])
        self.session = _open(folder / ("model.onnx" if self.encoder is None else "decoder.onnx"), num_threads)
        self.num_positions = num_positions[-1]
        past = [entry for entry in self.session.get_inputs() if entry.name.startswith(PAST)]
        self.past_names = cache_names(PAST, len(past) // 2)
        self.past_shape = past and (past[0].shape[1], 0, past[0].shape[3])  # heads, length, size
        if past and self.one_by_one:  # whose graph leaves the size open
            size = read_json(folder / "genai_config.json")["model"]["decoder"]["head_size"]
            self.past_shape = (past[0].shape[1], 0, size)

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
        length = past_key_values.get_seq_length() if past_key_values is not None else 0
        if attention_mask is None and input_ids is not None:  # `generate` leaves out one of ones
            attention_mask = input_ids.new_ones(len(input_ids), length + input_ids.shape[1])
        inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        inputs |= {"token_type_ids": token_type_ids}
        states: Mapping[str, Tensor] = {}
        if self.encoder is not None:
            states = encoder_outputs or self.encoder(**inputs)
            cross = {name: tensor for name, tensor in states.items() if name.startswith(CROSS)}
            inputs |= {"input_ids": decoder_input_ids, **cross}
        if not self.past_names:
            return _run(self.session, inputs)
        empty = torch.zeros(len(inputs["input_ids"]), *self.past_shape)
        past = tensors_of(past_key_values) if length else [empty] * len(self.past_names)
        outputs = _run(self.session, inputs | dict(zip(self.past_names, past, strict=True)))
        cache = cache_of([outputs[name.replace(PAST, PRESENT)] for name in self.past_names])
        return ModelOutput(logits=outputs["logits"], past_key_values=cache, **states)


class Encoder(torch.nn.Module):
    """States of the encoder, with the keys and values that the decoder's layers make of them."""

    main_input_name = "input_ids"

    def __init__(self, session: Any, num_positions: int | None) -> None:
        super().__init__()
        self.session, self.num_positions = session, num_positions

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> ModelOutput:
        return _run(self.session, {"input_ids": input_ids, "attention_mask": attention_mask})


def cache_names(prefix: str, num_layers: int) -> list[str]:
    """Names of the tensors of a cache, layer by layer."""
    return [f"{prefix}.{layer}.{kind}" for layer in range(num_layers) for kind in ("key", "value")]


def tensors_of(cache: Any) -> list[Tensor]:
    """Keys and values [B, heads, P, size] of a cache, layer by layer."""
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def cache_of(tensors: Sequence[Tensor]) -> Any:
    return DynamicCache(list(zip(tensors[::2], tensors[1::2], strict=True)))


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
    try:
        outputs = session.run(None, {name: tensor.contiguous().numpy() for name, tensor in feed.items()})
    except Exception as error:  # onnxruntime's, one for each status
        raise RunwrightError(f"onnxruntime cannot run the graph: {error}") from error
    tensors = map(torch.from_numpy, outputs)
    return ModelOutput(zip([entry.name for entry in session.get_outputs()], tensors, strict=True))
