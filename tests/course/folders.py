"""Small local model folders, one for each kind of checkpoint that a course on transformers uses.

`write("sentiment", folder)` saves the architecture with random weights, its head, the names of its labels
and a tokenizer of its kind. Vocabularies are made of the words below, so that nothing is read from elsewhere;
text in other words becomes letters or bytes. The same name gives the same weights every time. Tests get
folders that are written once by the fixture `model_folder`, and this module by the fixture `folders`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast, RobertaTokenizer, T5Tokenizer

OUR_WORDS = """
the a an and of in on at to for with is was were are it this that they we he she his her my very not no film
book soup bread room staff plot letter cat city river museum teacher doctor work music sport food good bad
warm cold kind rude lovely dull slow bright long short old new red blue Anna Karl Paris Berlin London Acme
Motors lives works eats reads writes saw bought sent visited who what where when about example text question
answer first second because yesterday
"""
WORDS = OUR_WORDS.split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-éèàçñü"
ENTITIES = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
PENN = ("DT", "JJ", "NN", "NNP", "NNS", "VBD", "VBZ", "IN", "PRP", "RB", ".")
NLI = ("contradiction", "neutral", "entailment")


# --- tokenizers ---------------------------------------------------------------------------------------


@cache
def wordpiece(*, cased: bool = False, type_ids: bool = True, more: str = "") -> PreTrainedTokenizerFast:
    """BERT's: `[CLS] A [SEP] B [SEP]`; letters make up what is not among the words."""
    letters = LETTERS if cased else LETTERS.lower()
    words = WORDS if cased else [word.lower() for word in WORDS]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{x}" for x in letters),
        *words,
        *more,
    ]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    inputs = ["input_ids", *["token_type_ids"] * type_ids, "attention_mask"]
    return BertTokenizer(
        vocab=vocabulary, do_lower_case=not cased, model_max_length=512, model_input_names=inputs
    )


@cache
def _byte_pairs() -> tuple[dict[str, int], Any]:
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        [" ".join(WORDS), " ".join(WORDS[::-1])] * 2, vocab_size=500, show_progress=False
    )
    model = json.loads(trainer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


@cache
def roberta(max_length: int = 512) -> PreTrainedTokenizerFast:
    """Bytes, with `<s> A </s></s> B </s>`; for RoBERTa, BART, Longformer and LED."""
    tokens, merges = _byte_pairs()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {token: number for number, token in enumerate([*specials, *tokens, "<mask>"])}
    return RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


@cache
def gpt2() -> PreTrainedTokenizerFast:
    """Bytes, with an end token alone: no token to pad with."""
    tokens, merges = _byte_pairs()
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|endoftext|>"])}
    return GPT2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=128)


def _pieces() -> list[tuple[str, float]]:
    """SentencePiece's form: letters, and words with their space in front."""
    pieces = dict.fromkeys(["▁", *LETTERS, *(f"▁{letter}" for letter in "aAI"), *(f"▁{w}" for w in WORDS)])
    return [(piece, -2.0 - (len(piece) < 3) * 4.0) for piece in pieces]


@cache
def t5() -> PreTrainedTokenizerFast:
    """Pieces of a unigram model, an end token after each text, ten sentinels."""
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in range(9, -1, -1)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_pieces(), *sentinels]
    return T5Tokenizer(vocab=pieces, extra_ids=10, model_max_length=512)


@cache
def marian() -> PreTrainedTokenizerFast:
    """One vocabulary for both languages whose last token is the padding, as Marian has it."""
    pieces = [("</s>", 0.0), ("<unk>", 0.0), *_pieces(), ("<pad>", 0.0)]
    inner = Tokenizer(models.Unigram(pieces, unk_id=1, byte_fallback=False))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    roles = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=512, model_input_names=inputs, **roles
    )


# --- architectures ------------------------------------------------------------------------------------

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
SEQ2SEQ = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
T5 = {"d_model": 32, "d_kv": 16, "num_layers": 2, "num_heads": 2, "d_ff": 32}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
SUMMARIES = {"summarization": {"max_length": 32, "min_length": 8, "num_beams": 2, "prefix": "summarize: "}}
ROBERTA_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}

# name: (class of the model, tokenizer, keys of its config); the letters of the classes are as in
# `distilbert-base-uncased-finetuned-sst-2-english` and its like.
Recipe = tuple[str, Callable[[], PreTrainedTokenizerFast], dict[str, Any]]


def _distilbert_tokenizer() -> PreTrainedTokenizerFast:
    return wordpiece(type_ids=False)


def _cased() -> PreTrainedTokenizerFast:
    return wordpiece(cased=True)


def _chinese() -> PreTrainedTokenizerFast:
    return wordpiece(more="我喜欢不这本书部电影非常好太长了他们觉得很有意思")


def _long() -> PreTrainedTokenizerFast:
    return roberta(4096)


def _labels(*names: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}


_BART = {**SEQ2SEQ, **ROBERTA_IDS, "decoder_start_token_id": 2, "forced_eos_token_id": 2}
_LONGFORMER = {**BERT, "attention_window": [32, 32], "max_position_embeddings": 2100, "type_vocab_size": 1}

RECIPES: dict[str, Recipe] = {
    "sentiment": (
        "DistilBertForSequenceClassification",
        _distilbert_tokenizer,
        {**DISTILBERT, **_labels("NEGATIVE", "POSITIVE")},
    ),
    "bert_sentiment": (
        "BertForSequenceClassification",
        wordpiece,
        {**BERT, **_labels("NEGATIVE", "POSITIVE")},
    ),
    "regression": (
        "BertForSequenceClassification",
        wordpiece,
        {**BERT, **_labels("LABEL_0"), "problem_type": "regression"},
    ),
    "multi_label": (
        "BertForSequenceClassification",
        wordpiece,
        {**BERT, **_labels("toxic", "insult", "threat"), "problem_type": "multi_label_classification"},
    ),
    "nli": ("BertForSequenceClassification", wordpiece, {**BERT, **_labels(*NLI)}),
    "nli_bart": ("BartForSequenceClassification", roberta, {**_BART, **_labels(*NLI)}),
    "ner": ("BertForTokenClassification", _cased, {**BERT, **_labels(*ENTITIES)}),
    "pos": ("BertForTokenClassification", _cased, {**BERT, **_labels(*PENN)}),
    "qa": ("DistilBertForQuestionAnswering", _distilbert_tokenizer, DISTILBERT),
    "bert_qa": ("BertForQuestionAnswering", _cased, BERT),
    "distilbert": ("DistilBertForMaskedLM", _distilbert_tokenizer, DISTILBERT),
    "bert": ("BertForMaskedLM", wordpiece, BERT),
    "bert_pretraining": ("BertForPreTraining", wordpiece, BERT),
    "bert_encoder": ("BertModel", wordpiece, BERT),
    "distilbert_encoder": ("DistilBertModel", _distilbert_tokenizer, DISTILBERT),
    "roberta": (
        "RobertaForMaskedLM",
        roberta,
        {**BERT, **ROBERTA_IDS, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "gpt2": ("GPT2LMHeadModel", gpt2, GPT2),
    "bart": ("BartForConditionalGeneration", roberta, {**_BART, "task_specific_params": SUMMARIES}),
    "t5": (
        "T5ForConditionalGeneration",
        t5,
        {**T5, "decoder_start_token_id": 0, "pad_token_id": 0, "task_specific_params": SUMMARIES},
    ),
    "marian": ("MarianMTModel", marian, {**SEQ2SEQ, "eos_token_id": 0, "forced_eos_token_id": 0}),
    "bert_chinese": ("BertForMaskedLM", _chinese, BERT),
    "longformer": ("LongformerForMaskedLM", _long, {**_LONGFORMER, **ROBERTA_IDS, "sep_token_id": 2}),
    "longformer_sentiment": (
        "LongformerForSequenceClassification",
        _long,
        {**_LONGFORMER, **ROBERTA_IDS, "sep_token_id": 2, **_labels("NEGATIVE", "POSITIVE")},
    ),
    "longformer_qa": (
        "LongformerForQuestionAnswering",
        _long,
        {**_LONGFORMER, **ROBERTA_IDS, "sep_token_id": 2},
    ),
    "led": (
        "LEDForConditionalGeneration",
        _long,
        {
            **_BART,
            "attention_window": [32, 32],
            "max_encoder_position_embeddings": 2100,
            "max_decoder_position_embeddings": 256,
        },
    ),
}


def write(name: str, folder: Path, **config: Any) -> Path:
    """Save the stand-in `name` of RECIPES in `folder`, which is returned; `config` changes its config."""
    class_name, make_tokenizer, options = RECIPES[name]
    tokenizer = make_tokenizer()
    if name == "marian":
        ids = {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.pad_token_id}
        options = {**options, **ids}
    if name == "gpt2":
        options = {**options, "bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model_class: Any = getattr(transformers, class_name)
    spread = {"Bart": "init_std", "Mari": "init_std", "LEDF": "init_std", "T5Fo": "initializer_factor"}
    # Large weights: answers that differ from text to text.
    wide = {spread.get(class_name[:4], "initializer_range"): 1.0 if "d_model" in options else 0.3}
    settings = {"vocab_size": len(tokenizer), **wide, **options, **config}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_class(model_class.config_class(**settings)).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# --- folders that something is wrong with -------------------------------------------------------------


def keep_only_bin(folder: Path) -> Path:
    """Replace the weights by a `pytorch_model.bin`, as older checkpoints have them."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def remove_config(folder: Path) -> Path:
    """A repository that lacks its config.json."""
    (folder / "config.json").unlink()
    return folder


def change_config(folder: Path, **changes: Any) -> Path:
    """Set keys of config.json; None takes one out. `model_type="asp"` makes the architecture unknown."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    file.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    return folder


def write_sparse(folder: Path, *, num_bytes: int, shard_bytes: int = 5 * 10**9) -> Path:
    """A folder whose safetensors headers claim `num_bytes` of bfloat16, in sparse files."""
    write("gpt2", folder)
    (folder / "model.safetensors").unlink()
    names: dict[str, str] = {}
    count = -(-num_bytes // shard_bytes)
    for number in range(count):
        rows = min(shard_bytes, num_bytes - number * shard_bytes) // 2048
        weight, file = f"transformer.h.{number}.weight", f"model-{number + 1:05}-of-{count:05}.safetensors"
        names[weight] = file
        entry = {"dtype": "BF16", "shape": [rows, 1024], "data_offsets": [0, rows * 2048]}
        header = json.dumps({weight: entry, "__metadata__": {"format": "pt"}}).encode()
        header += b" " * (-len(header) % 8)
        with (folder / file).open("wb") as stream:
            stream.write(len(header).to_bytes(8, "little") + header)
            stream.truncate(8 + len(header) + rows * 2048)
    index = {"metadata": {"total_size": num_bytes}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
