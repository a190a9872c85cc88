"""Graphs of a transformers model: by torch's exporters, or onnxruntime-genai's for decoders that it knows."""

from __future__ import annotations

import inspect
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runwright.errors import ConfigError
from runwright.inference.export.onnx_model import CROSS, PAST, PRESENT
from runwright.inference.load import FinishedRun, record_columns
from runwright.model.configuration import quiet_transformers
from runwright.model.parameters import max_positions
from runwright.task.base import model_inputs
from runwright.task.sentence_embedding import SentenceEmbedding, pool
from runwright.types import Batch

TEXTS = (
    "The film was good.",
    "A long letter about the old museum in the city, which nobody had read for twenty years; it was not bad.",
    "Why?",
    "Anna Karlsson of Acme Motors lives in Berlin, works in Paris and reads 3 newspapers a day.",
    "naïve café — 50 % off, über-cheap!",
)
# Architectures of decoders that onnxruntime-genai builds.
GENAI = (
    *("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "Gemma3", "Phi", "Phi3", "Olmo"),
    *("Granite", "Nemotron", "SmolLM3"),
)
ONE_FILE = 1_800_000_000  # bytes; a file of protobuf holds at most 2 GiB
DYNAMIC = torch.export.Dim.DYNAMIC


class Plain(torch.nn.Module):
    """The outputs of one call, and a vector for the text where the task is to embed."""

    def __init__(self, model: Any, task: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.task, self.names = model, task, names

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        if "sentence_embedding" in self.names:
            vectors = pool(outputs["last_hidden_state"], attention_mask, how=self.task.pooling)
            normal = torch.nn.functional.normalize(vectors, dim=-1) if self.task.normalize else vectors
            outputs["sentence_embedding"] = normal
        return tuple(outputs[name] for name in self.names)


class Encoder(torch.nn.Module):
    """States of the encoder, and the keys and values that the decoder's layers make of them.

    They are read from one step of the decoder; the exporter leaves out what they do not need.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        states = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)[0]
        outputs = self.model(
            encoder_outputs=(states,),
            attention_mask=attention_mask,
            decoder_input_ids=torch.zeros_like(input_ids[:, :1]),
            use_cache=True,
        )
        return states, *tensors_of(outputs.past_key_values.cross_attention_cache)


class Decoder(torch.nn.Module):
    """Logits and the longer cache; positions follow from the mask, as `generate` has them."""

    def __init__(self, model: Any, size: int = 0) -> None:
        super().__init__()
        self.model, self.size = model, size  # of the encoder's states
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: list[Tensor], cross: list[Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        from transformers import EncoderDecoderCache

        inputs: dict[str, Any] = {"attention_mask": attention_mask, "past_key_values": cache_of(past)}
        if cross is None:
            if self.takes_positions:
                positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
                inputs["position_ids"] = positions[:, -input_ids.shape[1] :]
            outputs = self.model(input_ids=input_ids, use_cache=True, **inputs)
            return outputs.logits, *tensors_of(outputs.past_key_values)
        inputs["past_key_values"] = EncoderDecoderCache(cache_of(past), cache_of(cross))
        states = torch.zeros(*attention_mask.shape, self.size)  # what is read of them is in `cross`
        outputs = self.model(encoder_outputs=(states,), decoder_input_ids=input_ids, use_cache=True, **inputs)
        return outputs.logits, *tensors_of(outputs.past_key_values.self_attention_cache)


def tensors_of(cache: Any) -> list[Tensor]:
    """Keys and values of a cache, layer by layer."""
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def cache_of(tensors: Sequence[Tensor]) -> Any:
    from transformers import DynamicCache

    return DynamicCache(list(zip(tensors[::2], tensors[1::2], strict=True)))


def sample(run: FinishedRun) -> Batch:
    """A padded batch of TEXTS, encoded as the task does."""
    texts = [{name: TEXTS[row - at] for at, name in enumerate(run.task.text_columns)} for row in range(5)]
    return run.task.collate(run.task.encode_records(record_columns(run.task, texts)))


@torch.no_grad()
def write_graphs(run: FinishedRun, folder: Path, *, form: str, opset: int | None) -> dict[str, Any]:
    """Write the model as ONNX, or as a program of torch.export; what is to be known to call it again."""
    model: Any = run.model.float().cpu().eval()
    inputs = model_inputs(sample(run))
    generates, two = run.task.generates, model.config.is_encoder_decoder
    sides = (model.get_encoder(), model.get_decoder()) if generates and two else (model,)
    about: dict[str, Any] = {"kind": "plain", "cache_shape": None}
    about["num_positions"] = [max_positions(side) for side in sides]
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")  # T5 cannot be converted with sdpa, and ours leaves padding out
    try:
        with refused(model, form):
            if not generates:
                return about | _write_plain(run, inputs, folder, form=form, opset=opset)
            if form == "torch":
                raise ConfigError("--format torch: it is for tasks that write no texts; take onnx")
            inputs.pop("token_type_ids", None)
            return about | _write_decoder(run, inputs, folder, opset=opset)
    finally:
        model.set_attn_implementation(attention)


def _write_plain(
    run: FinishedRun, inputs: Batch, folder: Path, *, form: str, opset: int | None
) -> dict[str, Any]:
    model: Any = run.model
    dims = {name: {0: DYNAMIC, 1: DYNAMIC} for name in inputs}
    names = [name for name, value in model(**inputs).items() if isinstance(value, Tensor)]
    # T5's encoder states beside its answers are of no use to anyone.
    names = [name for name in names if not name.startswith("encoder_")]
    if isinstance(run.task, SentenceEmbedding):
        names = ["last_hidden_state", "sentence_embedding"]
    graph = Plain(model, run.task, names)
    if form == "torch":
        program = torch.export.export(graph, (), kwargs=inputs, dynamic_shapes=dims)
        torch.export.save(program, folder / "model.pt2")
    else:
        _save(graph, inputs, dims, folder / "model.onnx", inputs=[*inputs], outputs=names, opset=opset)
    return {"inputs": [*inputs], "outputs": names}


def _write_decoder(run: FinishedRun, inputs: Batch, folder: Path, *, opset: int | None) -> dict[str, Any]:
    model: Any = run.model
    ids, mask = inputs["input_ids"][:, :3], inputs["attention_mask"]
    two = {0: DYNAMIC, 1: DYNAMIC}
    cross, decoder, longer = None, Decoder(model), mask
    if model.config.is_encoder_decoder:
        states, *cross = Encoder(model)(**inputs)
        names = ["last_hidden_state", *_names(CROSS, cross)]
        dims: dict[str, Any] = dict.fromkeys(inputs, two)
        file = folder / "encoder.onnx"
        _save(Encoder(model), inputs, dims, file, inputs=[*inputs], outputs=names, opset=opset)
        decoder = Decoder(model, size=states.shape[-1])
        cache = model(**inputs, decoder_input_ids=ids, use_cache=True).past_key_values.self_attention_cache
    else:
        cache = model(**inputs, use_cache=True).past_key_values
        longer = torch.cat([mask, torch.ones_like(ids)], dim=1)
    past = tensors_of(cache)
    shape = [len(past) // 2, past[0].shape[1], past[0].shape[3]]
    if type(model).__name__.removesuffix("ForCausalLM") in GENAI:
        _build(run, folder)
        return {"kind": "genai", "cache_shape": shape}
    arguments = {"input_ids": ids, "attention_mask": longer, "past": past}
    dims = {"input_ids": two, "attention_mask": two, "past": [{0: DYNAMIC, 2: DYNAMIC}] * len(past)}
    if cross is not None:
        arguments["cross"], dims["cross"] = cross, [{0: DYNAMIC, 2: DYNAMIC}] * len(cross)
    kind = "decoder" if cross is None else "seq2seq"
    file = folder / ("model.onnx" if cross is None else "decoder.onnx")
    names = ["input_ids", "attention_mask", *_names(PAST, past), *_names(CROSS, cross or ())]
    outputs = ["logits", *_names(PRESENT, past)]
    _save(decoder, arguments, dims, file, inputs=names, outputs=outputs, opset=opset)
    return {"kind": kind, "cache_shape": shape}


def _names(prefix: str, tensors: Sequence[Tensor]) -> list[str]:
    return [f"{prefix}.{layer}.{kind}" for layer in range(len(tensors) // 2) for kind in ("key", "value")]


def _save(
    graph: torch.nn.Module,
    arguments: dict[str, Any],
    dims: dict[str, Any],
    file: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    opset: int | None,
) -> None:
    size = sum(parameter.nbytes for parameter in graph.parameters())
    program: Any = torch.onnx.export(
        graph,
        (),
        kwargs=arguments,
        dynamic_shapes=dims,
        input_names=inputs,
        output_names=outputs,
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    program.save(file, external_data=size > ONE_FILE)


def _build(run: FinishedRun, folder: Path) -> None:
    """A decoder by onnxruntime-genai's builder, which reads a folder of transformers."""
    try:
        from onnxruntime_genai.models.builder import create_model, parse_extra_options
    except ImportError as error:
        raise ConfigError(
            f"runwright export: {type(run.model).__name__} needs onnxruntime-genai: "
            "pip install 'runwright[export]'"
        ) from error
    with tempfile.TemporaryDirectory() as source:
        model: Any = run.model
        model.save_pretrained(source)
        run.tokenizer.save_pretrained(source)
        arguments = "", source, str(folder), "fp32", "cpu", source
        create_model(*arguments, **parse_extra_options(*arguments, ["hf_token=false"]))


def quantize(folder: Path) -> None:
    """Replace the weights of all graphs in a folder by int8, one scale for each channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for file in sorted(folder.glob("*.onnx")):
        weights = file.with_name(f"{file.name}.data")
        size = sum(one.stat().st_size for one in (file, weights) if one.is_file())
        with tempfile.TemporaryDirectory(dir=folder) as place, _quietly():
            new = Path(place) / file.name
            options: dict[str, Any] = {"use_external_data_format": size > ONE_FILE, "per_channel": True}
            quantize_dynamic(file, new, weight_type=QuantType.QInt8, **options)
            weights.unlink(missing_ok=True)
            for made in Path(place).iterdir():
                made.replace(folder / made.name)


@contextmanager
def refused(model: Any, form: str) -> Iterator[None]:
    """Inside, exporters are quiet, and their errors become a ConfigError with the reason."""
    try:
        with _quietly():
            yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError("runwright export: needs pip install 'runwright[export]'") from error
    except Exception as error:  # torch's exporters raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next(filter(None, str(cause).splitlines()), type(cause).__name__)
        raise ConfigError(
            f"runwright export: {type(model).__name__} cannot be exported as {form} ({reason:.200}); "
            "--format safetensors takes every model"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            Path(os.devnull).open("w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
            quiet_transformers(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
