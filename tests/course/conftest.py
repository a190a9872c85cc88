"""The project in which the commands of docs/course.md run: that of the pages, and stand-ins of models."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# A checkpoint of the hub, and the stand-in that takes its place in the tests.
STAND_INS = {
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": "sentiment",
    "facebook/bart-large-mnli": "nli_bart",
    "openai-community/gpt2": "gpt2",
    "distilbert/distilgpt2": "gpt2",
    "distilbert/distilroberta-base": "roberta",
    "FacebookAI/roberta-base": "roberta",
    "google-bert/bert-base-cased": "bert",
    "google-bert/bert-base-uncased": "bert",
    "google-bert/bert-base-chinese": "bert_chinese",
    "albert/albert-base-v1": "t5",
    "dbmdz/bert-large-cased-finetuned-conll03-english": "ner",
    "QCRI/bert-base-multilingual-cased-pos-english": "pos_bin",
    "tliu/asp-coref-flan-t5-large": "unknown",
    "distilbert/distilbert-base-cased-distilled-squad": "qa",
    "distilbert/distilbert-base-uncased": "distilbert",
    "sshleifer/distilbart-cnn-12-6": "bart",
    "Helsinki-NLP/opus-mt-fr-en": "marian",
    "Helsinki-NLP/opus-mt-en-fr": "marian",
    "google-t5/t5-small": "t5",
    "google/mt5-small": "t5",
    "allenai/longformer-base-4096": "longformer",
    "allenai/led-base-16384": "led",
    "alpindale/WizardLM-2-8x22B": "large",
    "sentence-transformers/multi-qa-mpnet-base-dot-v1": "bert_encoder",
}


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pages_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


PAGES = _module(REPOSITORY / "tests" / "docs" / "conftest.py")
BLOCKS = _module(REPOSITORY / "tests" / "docs" / "test_blocks.py")
prepared_project = PAGES.prepared_project
in_project = BLOCKS.in_project


@pytest.fixture(scope="session")
def page_blocks() -> ModuleType:
    """tests/docs/test_blocks.py: how blocks of a page are found and run."""
    return BLOCKS


@pytest.fixture(scope="session")
def stand_ins(folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all stand-ins of STAND_INS."""
    home: Path = tmp_path_factory.mktemp("stand-ins") / "models"
    for name in dict.fromkeys(STAND_INS.values()):
        if name in folders.RECIPES:
            folders.write(name, home / name)
    folders.keep_only_bin(folders.write("pos", home / "pos_bin"))
    folders.change_config(folders.write("t5", home / "unknown"), model_type="asp", architectures=["Asp"])
    folders.write_sparse(home / "large", num_bytes=282 * 10**9)
    return home


@pytest.fixture(scope="session")
def stand_in_names() -> dict[str, str]:
    """The stand-in of each checkpoint of the hub."""
    return STAND_INS


@pytest.fixture(scope="session")
def write_course_data() -> Callable[[Path], None]:
    """Writes the files that docs/course.md names into a folder."""
    return _write_course_data


LABELS = ("joy", "sadness", "anger", "fear", "love", "surprise")
TOXIC = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")


def _write_course_data(folder: Path) -> None:
    texts = [text for text, _ in PAGES.sentences(72)]
    rows = [{"text": text, "label": LABELS[n % 6]} for n, text in enumerate(texts)]
    PAGES.write_rows(folder / "emotion.csv", rows)
    more = [{"text": f"{row['text']} again", "label": row["label"]} for row in rows[:24]]
    PAGES.write_rows(folder / "emotion_more.csv", more)
    lengthy = [{**row, "text": " ".join(texts[n:] + texts[:n])} for n, row in enumerate(rows[:12])]
    PAGES.write_rows(folder / "long.csv", lengthy)
    drugs = [
        {
            "": 1000 + n,
            "drug": f"drug {n % 5}",
            "condition": ("Headache", "Cough", "Acne", "")[n % 4],
            "review": f"&quot;It&#039;s {text.lower()}&quot;\r\nand so on",
            "rating": n % 10 + 1,
        }
        for n, text in enumerate(texts)
    ]
    PAGES.write_rows(folder / "drugs.tsv", drugs, delimiter="\t")
    flags = [[int((n + shift) % (shift + 3) == 0) for shift in range(6)] for n in range(len(texts))]
    wide = [
        {"id": f"{n:04x}", "comment_text": f'"{text}",\nand more', **dict(zip(TOXIC, flags[n], strict=True))}
        for n, text in enumerate(texts)
    ]
    PAGES.write_rows(folder / "toxic.csv", wide)
    listed = [{"comment_text": row["comment_text"], "list": str(flags[n])} for n, row in enumerate(wide)]
    PAGES.write_rows(folder / "toxic_list.csv", listed)
    issues = [
        {
            "title": f"How to load file {n}" if n % 3 else "Crash",
            "body": None if n % 5 == 0 else texts[n % len(texts)],
            "state": ("open", "closed")[n % 2],
            "user": {"login": f"user{n % 7}"},
            "labels": [{"name": "bug"}] * (n % 2),
            "comments": [f"I see {text.lower()}" for text in texts[n % 3 : n % 5]],
            "pull_request": {"url": "x"} if n % 4 == 0 else None,
            "is_pull_request": n % 4 == 0,
        }
        for n in range(60)
    ]
    PAGES.write_rows(folder / "issues.jsonl", issues)
    (folder / "five.txt").write_text("\n".join(texts[:5]), encoding="utf-8")
    for page, name in (("extending", "my_project/key_tokens"), ("tasks-and-metrics", "metrics/prf/prf")):
        text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
        shown = re.search(rf"^```python\n(# src/{name}.py\n.*?)^```", text, re.MULTILINE | re.DOTALL)
        if shown:
            file = folder / "src" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(shown[1], encoding="utf-8")
    questions = [
        {"question": "Where does Anna work?", "context": "Anna works at Acme Motors in Berlin."},
        {"question": "Who eats?", "context": "Karl eats bread in the museum."},
        {"question": "How old is the letter?", "context": "The letter of 12 lines is 40 years old."},
    ]
    PAGES.write_rows(folder / "questions.jsonl", questions)
    far = " ".join([*texts[:50], questions[0]["context"], *texts[50:]])
    PAGES.write_rows(folder / "far.jsonl", [{**questions[0], "context": far}])
    with gzip.open(folder / "reviews.csv.gz", "wb") as stream:
        stream.write((folder / "reviews.csv").read_bytes())
    (folder / "shards").mkdir()
    lines = [
        json.dumps({"text": t, "label": {"good": "pos", "bad": "neg"}[m]}) for t, m in PAGES.sentences(80)
    ]
    for number in range(4):
        with gzip.open(folder / "shards" / f"{number}.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.write("\n".join(lines[number * 20 : number * 20 + 20]) + "\n")
    code = Path(json.__file__).read_text(encoding="utf-8").splitlines()
    (folder / "sources.txt").write_text("\n".join(line for line in code if line.strip()), encoding="utf-8")
