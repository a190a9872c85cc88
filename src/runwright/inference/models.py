"""A model by name made ready like a finished run: task, labels and lengths come from its own config.json."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runwright import build
from runwright.config.compose import checked, compose
from runwright.config.overrides import quoted
from runwright.config.permissions import code_allowed
from runwright.config.redaction import reveal
from runwright.config.rules.checks import EXAMPLES
from runwright.config.rules.table import GENERATION, check_rules
from runwright.config.sources import resolve_source
from runwright.config.tag_schemes import LETTERS, misfits
from runwright.config.targets import GROUPS, instantiate
from runwright.errors import ConfigError, did_you_mean, listed, raise_if_any
from runwright.inference.features import TokenStates, states_of_layer
from runwright.inference.load import FinishedRun, choosing, finish, generating_config, load_run
from runwright.inference.named import Named
from runwright.model.parameters import max_positions
from runwright.model.pretrained import loading, open_config
from runwright.runs.resume import override_key
from runwright.tokenizer.pretrained import in_safetensors, with_safetensors
from runwright.types import Hypotheses

# A task, its metrics in an evaluation that names none, how names of transformers' classes for it end (the
# longer ones first), and what transformers' pipelines call it.
_TABLE = """
sequence_classification single_label ForSequenceClassification text-classification sentiment-analysis zero-shot-classification
token_classification span_f1,tag_accuracy ForTokenClassification token-classification ner pos
question_answering exact_match,answer_f1 ForQuestionAnswering question-answering
masked_language_modeling perplexity,token_accuracy ForMaskedLM ForPreTraining fill-mask
causal_language_modeling perplexity ForCausalLM LMHeadModel text-generation
translation bleu,chrf ForConditionalGeneration MTModel EncoderDecoderModel text2text-generation
summarization rouge_1,rouge_2,rouge_l
sentence_embedding spearman Model feature-extraction
instruction_tuning text_exact_match
"""  # noqa: E501
TASKS = {task: (metrics, names) for task, metrics, *names in map(str.split, _TABLE.strip().splitlines())}
UNUSED = GROUPS.keys() - {"task", "model", "tokenizer", "generation", "trainer"}  # groups, to predict
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LANGUAGE = ("causal_language_modeling", "instruction_tuning")  # tasks that an evaluation writes no texts for
MAX_LENGTH = 512  # tokens, where neither model nor tokenizer has a limit


def open_model(
    source: Path | Named,
    *,
    overrides: Sequence[str] = (),
    device: str | None = None,
    hypotheses: Hypotheses | None = None,
) -> FinishedRun:
    """The model of a run or of a name, ready to predict; overrides say how texts are generated.

    A name takes overrides of `task`, `tokenizer` and `model` too.
    """
    if isinstance(source, Path):
        run = load_run(source, device=device, config=generating_config(source, overrides))
    else:
        run = load_named(source, overrides, device=device, idle=UNUSED)
    return choosing(run, hypotheses)


def load_named(
    named: Named, overrides: Sequence[str], *, device: str | None, idle: Collection[str] = ()
) -> FinishedRun:
    """A model by name with its tokenizer and task; raises ConfigError before weights are read.

    The configuration is that of an experiment with these overrides; groups in `idle` are left out of it.
    """
    from transformers import AutoModel

    source, positions = in_safetensors(resolve_source(named.name)), None
    typed = {override_key(text): text.partition("=")[2] for text in overrides}
    revision = typed.get("model.revision")
    if Path(source).exists() and not (Path(source) / "config.json").is_file():
        raise ConfigError(f"{named.name}: no folder with a config.json, which tells what model is in it")
    saved: Any = open_config(named.name, revision=revision)
    with torch.device("meta"), loading(named.name), suppress(ValueError):  # two joined models
        positions = max_positions(AutoModel.from_config(saved, trust_remote_code=code_allowed()))
    check_memory(named, source, revision=revision, device=device)
    task_name, settings = _task_of(named, saved)
    decoding = _decoding(saved, source, settings)
    usual = _usual(named, saved, task_name, num_beams=decoding.get("num_beams") or 1, evaluates=not idle)
    texts = [f"{key}={value}" for key, value in usual.items() if key not in typed]
    composed = compose([*texts, *overrides], shadow=bool(idle))
    config = {"dataset": {}, **reveal(checked(composed, idle=idle).config, but="tracker")}
    tokenizer = instantiate(config["tokenizer"], group="tokenizer", key="tokenizer")
    limit = min(positions or sys.maxsize, tokenizer.model_max_length)
    ours = _task_options(saved, config["task"], limit=limit if limit < 1e6 else MAX_LENGTH)
    ours |= {"prefix": settings.get("prefix") or "", **_pooling(named, source, revision)}
    for group, values in (("generation", decoding), ("task", ours)):  # overrides come before the model's
        options = config.get(group) or {}
        free = {*options} & {*values} - {key.removeprefix(f"{group}.") for key in typed}
        options |= {name: values[name] for name in free}
    raise_if_any(check_rules(GENERATION, config, ()))
    task = build.build_task(config, tokenizer)
    names = config["task"].get("label_names") or config["task"].get("tag_names")
    task.load_state_dict({**task.state_dict(), **({"label_names": names} if names else {})})
    head = replace(task.head, trained=not named.new_weights)
    model = instantiate(config["model"], head, tokenizer, group="model", key="model")
    if named.features:
        task.states = partial(states_of_layer, layer=named.layer)
        task = task if named.features == "pooled" else TokenStates(task)
    return replace(finish(Path(named.name), config, tokenizer, task, model, device=device), decoding=decoding)


def _task_of(named: Named, saved: Any) -> tuple[str, dict[str, Any]]:
    """The task, and the model's own settings for it, such as those of translation_en_to_fr."""
    variants = getattr(saved, "task_specific_params", None) or {}
    if (asked := "sentence_embedding" if named.features else named.task) is None:
        kind = str((getattr(saved, "architectures", None) or ["no architecture"])[0])
        asked = next((task for task, (_, names) in TASKS.items() if kind.endswith((*names,))), None)
        if asked is None:
            problem = f"{named.name}: its config.json names {kind}, which tells no task"
            raise ConfigError(f"{problem}; add --task, in Python task=, with one of {listed(TASKS)}")
        asked = "summarization" if asked == "translation" and [*variants] == ["summarization"] else asked
    task = "translation" if asked.startswith("translation_") else asked
    task = next((ours for ours, (_, names) in TASKS.items() if task in names), task)
    if task not in TASKS:
        hint = did_you_mean(task, [*TASKS, *(name for _, names in TASKS.values() for name in names)])
        problem = f"--task, task=: given {asked!r}, expected one of {listed(TASKS)}"
        raise ConfigError(f"{problem}; {hint}".rstrip("; "))
    return task, variants.get(asked) or {}


def _usual(named: Named, saved: Any, task: str, *, num_beams: int, evaluates: bool) -> dict[str, str]:
    """Overrides that choose task and model, the kind of classification, metrics and decoding."""
    usual = {"task": task, "model": "pretrained", "model.name": quoted(named.name)}
    usual["model.dtype"] = DTYPES[named.dtype]
    metrics = TASKS[task][0]
    if task == "sequence_classification":  # without a problem_type a single label is a number
        kind = (saved.problem_type or "").removesuffix("_classification")
        usual["task.problem"] = kind = kind or ("regression" if saved.num_labels == 1 else "single_label")
        metrics = EXAMPLES.get(kind, "")  # an odd one is refused as task.problem
        if "entailment" in {str(name).casefold() for name in saved.id2label.values()}:  # it judges pairs
            usual["task.text_pair_column"] = "hypothesis"
    if named.features:
        usual |= {"model.attention": "sdpa", "task.text_column": "text"}
    if task in ("translation", "summarization") or (task in LANGUAGE and not evaluates):
        usual["generation"] = "beam" if num_beams > 1 else "greedy"
    if evaluates:
        usual |= {"metric": f"[{metrics}]"}
    return usual | {"trainer.best_metric": "loss", "trainer.best_mode": "min", "tracker": "console"}


def _decoding(saved: Any, source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own settings of decoding, by our names too."""
    from transformers import GenerationConfig

    ours: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        ours = GenerationConfig.from_pretrained(source).to_diff_dict()
    ours |= settings
    for name in ("max", "min") if saved.is_encoder_decoder else ():
        if length := ours.get(f"{name}_length"):  # with the token that a decoder starts with
            ours.setdefault(f"{name}_new_tokens", length - 1)
    return ours


def _task_options(saved: Any, options: Mapping[str, Any], *, limit: int) -> dict[str, Any]:
    """Labels, scheme of tags and lengths of a task, as the model has them."""
    names = [str(saved.id2label[number]) for number in sorted(saved.id2label or {})]
    # A text that is cut into windows may be of any length.
    has_windows = "overlap" in options or "join_rows" in options
    ours: dict[str, Any] = {"max_length": min(options["max_length"], limit) if has_windows else limit}
    for name, share in (("overlap", 3), ("max_question_length", 3), ("max_target_length", 1)):
        if name in options:
            ours[name] = min(options[name], limit // share)
    if options.get("problem") != "regression":
        ours["label_names"] = names
    scheme = next(scheme for scheme in LETTERS if not misfits(names, scheme))
    return ours | {"tag_names": names, "scheme": scheme}


def _pooling(named: Named, source: str, revision: str | None) -> dict[str, Any]:
    """Pooling by the files of sentence-transformers beside a model; without them features are plain."""
    from transformers.utils.hub import cached_file

    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    names = "1_Pooling/config.json", "modules.json"
    files = [cached_file(source, name, revision=revision, **quiet) for name in names]
    if not all(files):
        return {"normalize": False} if named.features else {}
    pooling, modules = (json.loads(Path(str(file)).read_text(encoding="utf-8")) for file in files)
    kinds = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    ways = [how for how, name in kinds.items() if pooling.get(f"pooling_mode_{name}")]
    normalizes = any(str(module.get("type")).endswith("Normalize") for module in modules)
    return {"normalize": normalizes, **({"pooling": ways[0]} if ways else {})}


def check_memory(named: Named, source: str, *, revision: str | None, device: str | None) -> None:
    """Raise ConfigError for weights that are larger than the free memory, by the headers of their files."""
    import psutil
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata

    source = with_safetensors(source, name=named.name)
    try:
        if Path(source).is_dir():
            headers = get_local_safetensors_metadata(source)
        else:
            headers = get_safetensors_metadata(source, revision=revision)
    except Exception:  # noqa: BLE001 - no such files, or a hub out of reach in one of many ways: loading tells
        return
    number = sum(headers.parameter_count.values())
    on_gpu = device != "cpu" and torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    sizes = {flag: number * getattr(torch, dtype).itemsize for flag, dtype in DTYPES.items()}
    if (needed := sizes[named.dtype]) > free:
        ways = [f"--dtype {flag} ({size / 1e9:.1f} GB)" for flag, size in sizes.items() if size <= free]
        ways = ways or [f"a model of {free / 2e9:.1f} billion with --dtype bf16"]
        taken = f"{number / 1e9:.1f} billion parameters take {needed / 1e9:.1f} GB in {DTYPES[named.dtype]}"
        there = f"{free / 1e9:.1f} GB are free"
        raise ConfigError(f"{named.name}: {taken}, and {there}; {' or '.join(ways)} would fit")
