"""Graphs of a transformers model: by torch's exporters, or onnxruntime-genai's for decoders that it knows."""

import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EncoderDecoderCache
from transformers.utils.generic import ModelOutput

from runwright.errors import ConfigError
from runwright.inference.export.onnx_model import CROSS, PAST, PRESENT, cache_names, cache_of, tensors_of
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
# Decoders that onnxruntime-genai builds, with heads of a multiple of 16.
_NAMES = "Llama Mistral Qwen2 Qwen3 Gemma Gemma2 Gemma3 Phi Phi3 Olmo Granite Nemotron SmolLM3"
GENAI = {f"{name}ForCausalLM" for name in _NAMES.split()}
ONE_FILE = 1_800_000_000  # bytes; a file of protobuf holds at most 2 GiB
DYNAMIC = torch.export.Dim.DYNAMIC
TEXT, CACHE = {0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC, 2: DYNAMIC}  # [B, L] and [B, heads, L, size]


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


class Program(torch.nn.Module):
    """A program of torch.export, which is unpickled, in the place of the model; outputs by name."""

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        super().__init__()
        # Not a module of this one: it refuses `eval`.
        self.names, self.call = names, partial(torch.export.load(file).module())

    def forward(self, **inputs: Tensor) -> ModelOutput:
        return ModelOutput(zip(self.names, self.call(**inputs), strict=True))


def sample(run: FinishedRun) -> Batch:
    """A padded batch of TEXTS, encoded as the task does."""
    names, count = run.task.text_columns, len(TEXTS)
    texts = [{name: TEXTS[row - at] for at, name in enumerate(names)} for row in range(count)]
    return run.task.collate(run.task.encode_records(record_columns(run.task, texts)))


@torch.no_grad()
def write_graphs(
    run: FinishedRun, folder: Path, *, form: str, opset: int | None, int8: bool
) -> dict[str, Any]:
    """Write the model as ONNX or a program of torch.export; what a call of it needs, or ConfigError."""
    model: Any = run.model
    if form == "torch" and run.task.generates:
        raise ConfigError("--format torch: it is for tasks that write no texts; take onnx")
    if next(model.parameters(), None) is None:
        raise ConfigError(f"{run.folder}: given an export as {form}, expected a run or a model with weights")
    sides = (model.get_encoder(), model.get_decoder()) if model.config.is_encoder_decoder else (model,)
    about: dict[str, Any] = {"num_positions": [max_positions(side) for side in sides]}
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")  # T5 cannot be converted with sdpa, and ours leaves padding out
    try:
        with _quietly():
            if not run.task.generates:
                about |= _write_plain(run, folder, form, opset)
            elif type(model).__name__ in GENAI and getattr(model.config, "head_dim", 16) % 16 == 0:
                _build(run, folder)
            else:
                _write_decoder(run, folder, opset)
            if int8:
                _quantize(folder)
    except ImportError as error:
        raise ConfigError(f"runwright export: {error}; pip install 'runwright[export]'") from error
    except Exception as error:  # torch's exporters raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next(filter(None, str(cause).splitlines()), type(cause).__name__)
        problem = f"runwright export: {type(model).__name__} cannot be exported as {form} ({reason:.200})"
        raise ConfigError(f"{problem}; --format safetensors takes every model") from error
    finally:
        model.set_attn_implementation(attention)
    return about


def _write_plain(run: FinishedRun, folder: Path, form: str, opset: int | None) -> dict[str, Any]:
    inputs = model_inputs(sample(run))
    # T5's encoder states beside its answers are of no use.
    outputs = {key: value for key, value in run.model(**inputs).items() if not key.startswith("encoder_")}
    names = [name for name, value in outputs.items() if isinstance(value, Tensor)]
    if isinstance(run.task, SentenceEmbedding):
        names = ["last_hidden_state", "sentence_embedding"]
    graph = Plain(run.model, run.task, names)
    if form == "torch":
        program = torch.export.export(graph, (), kwargs=inputs, dynamic_shapes=dict.fromkeys(inputs, TEXT))
        torch.export.save(program, folder / "model.pt2")
    else:
        _save(graph, folder / "model.onnx", inputs, names, opset)
    return {"inputs": [*inputs], "outputs": names}


def _write_decoder(run: FinishedRun, folder: Path, opset: int | None) -> None:
    model: Any = run.model
    batch = model_inputs(sample(run))
    inputs: dict[str, Any] = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ids, mask = inputs["input_ids"][:, :3], inputs["attention_mask"]
    if model.config.is_encoder_decoder:
        encoder = Encoder(model)
        states, *cross = encoder(**inputs)
        decoder, file = Decoder(model, size=states.shape[-1]), folder / "decoder.onnx"
        outputs = ["last_hidden_state", *cache_names(CROSS, len(cross) // 2)]
        _save(encoder, folder / "encoder.onnx", inputs, outputs, opset)
        cache = model(**inputs, decoder_input_ids=ids, use_cache=True).past_key_values.self_attention_cache
        more = {"cross": cross}
    else:
        decoder, file, more = Decoder(model), folder / "model.onnx", {}
        cache = model(**inputs, use_cache=True).past_key_values
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    past = tensors_of(cache)
    arguments = {"input_ids": ids, "attention_mask": mask, "past": past, **more}
    _save(decoder, file, arguments, ["logits", *cache_names(PRESENT, len(past) // 2)], opset)


def _save(
    graph: torch.nn.Module, file: Path, inputs: dict[str, Any], outputs: list[str], opset: int | None
) -> None:
    """Write a graph of any batch and length; inputs are texts, or lists of keys and values."""
    names, dims = list[str](), dict[str, Any]()
    for name, value in inputs.items():
        is_text = isinstance(value, Tensor)
        names += [name] if is_text else cache_names({"past": PAST}.get(name, name), len(value) // 2)
        dims[name] = TEXT if is_text else [CACHE] * len(value)
    options: Any = {"dynamic_shapes": dims, "input_names": names, "output_names": outputs, "dynamo": True}
    program: Any = torch.onnx.export(graph, (), kwargs=inputs, opset_version=opset, verbose=False, **options)
    program.save(file, external_data=sum(p.nbytes for p in graph.parameters()) > ONE_FILE)


def _build(run: FinishedRun, folder: Path) -> None:
    """A decoder by onnxruntime-genai's builder, which reads a folder of transformers."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    model: Any = run.model
    with tempfile.TemporaryDirectory(dir=folder) as source:  # on the same disk
        model.save_pretrained(source)
        run.tokenizer.save_pretrained(source)
        arguments = "", source, str(folder), "fp32", "cpu", source
        create_model(*arguments, **parse_extra_options(*arguments, ["hf_token=false"]))


def _quantize(folder: Path) -> None:
    """Replace the weights of all graphs in a folder by int8, one scale for each channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for file in sorted(folder.glob("*.onnx")):
        weights = file.with_name(f"{file.name}.data")
        size = sum(one.stat().st_size for one in (file, weights) if one.is_file())
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            options: dict[str, Any] = {"use_external_data_format": size > ONE_FILE, "per_channel": True}
            options["reduce_range"] = True  # of 7 bits: sums of 8 saturate where a CPU has no VNNI
            quantize_dynamic(file, Path(temporary, file.name), weight_type=QuantType.QInt8, **options)
            weights.unlink(missing_ok=True)
            for made in Path(temporary).iterdir():
                made.replace(folder / made.name)


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, exporters, which print pages, print nothing; a handler that they set up is removed."""
    level, handlers = logging.root.manager.disable, [*logging.root.handlers]
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), quiet_transformers():
            warnings.simplefilter("ignore")
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers
