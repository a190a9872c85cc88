"""`runwright validate --deep --show-batch`: what a model gets, for every task."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from runwright.cli.main import main

TEXTS = [("the film was good", "pos"), ("very long and thin plot", "neg"), ("fine", "pos")]
QUESTION = {"id": "1", "question": "was what?", "answers": [{"text": "good film", "answer_start": 4}]}
ARTICLE = {"title": "t", "paragraphs": [{"context": "the good film was long", "qas": [QUESTION]}]}
TEMPLATE = (
    "task.chat_template='{{ messages[0].content }}{% generation %}{{ messages[1].content }}{{ eos_token }}"
    "{% endgeneration %}'"
)
DECODER = ["model=scratch_decoder", "tokenizer=train/bpe", "tokenizer.model.min_frequency=1"]
CHARACTERS = ["tokenizer=train/char", "tokenizer.family=t5"]
SENTINELS = [*CHARACTERS, 'tokenizer.extra_tokens=["<extra_id_0>"]']
LESS = ["metric=[perplexity]"]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("texts.csv"), [{"text": text, "label": label} for text, label in TEXTS])
    sets = zip(TEXTS, ("x,y", "y", ""), strict=True)
    write(Path("sets.csv"), [{"text": text, "label": labels} for (text, _), labels in sets])
    write(Path("pairs.csv"), [{"source": "a film", "target": "un film, là"}, {"source": "b", "target": "c"}])
    write(Path("scored.csv"), [{"sentence1": "a bad film", "sentence2": "film", "score": 4}])
    Path("squad.json").write_text(json.dumps({"data": [ARTICLE]}))
    tagged = {"words": ["the", "unbelievable", "film"], "tags": ["O", "B-x", "I-x"]}
    Path("tags.jsonl").write_text(f'{json.dumps(tagged)}\n{{"words": ["fine"], "tags": ["O"]}}')
    Path("chats.jsonl").write_text(json.dumps({"prompt": "the film", "response": "good"}))


CASES = {  # reader and file, overrides, lines in their order
    "classes": (
        "csv texts.csv",
        [],
        "example 2 | tokens [CLS] fine [SEP] [PAD] [PAD] [PAD] [PAD] | attention_mask 1 1 1 0 0 0 0 "
        "| labels: 1 (pos)",
    ),
    "sets of classes": (
        "csv sets.csv",
        ["task.problem=multi_label", "metric=[f1_micro]"],
        "example 1 | labels: ['y'] | example 2 | labels: []",
    ),
    "hidden tokens": (
        "csv texts.csv",
        ["task=masked_language_modeling", "task.mask_probability=1", "task.random_share=0", *LESS],
        "labels -100 the film was good very long and thin plot fine -100",
    ),
    "next tokens": (
        "csv texts.csv",
        ["task=causal_language_modeling", *DECODER, *LESS],
        "tokens <s> ▁the ▁film ▁was ▁good </s> | labels ▁the ▁film ▁was ▁good </s> ▁very | num_bytes: ",
    ),
    "translations": (
        "csv pairs.csv",
        ["task=translation", "model=scratch_encoder_decoder", *CHARACTERS, "metric=[chrf]"],
        "tokens a f i l m </s> | labels u n f i l m , l à </s> | example 1 | tokens b </s> <pad> "
        "| labels c </s> -100 -100",
    ),
    "spans": (
        "csv texts.csv",
        ["task=denoising", "task.max_length=16", "model=scratch_encoder_decoder", *SENTINELS, *LESS],
        "<extra_id_0> </s> | labels <extra_id_0>",
    ),
    "vectors": (
        "csv scored.csv",
        ["task=sentence_embedding", "metric=[spearman]"],
        "tokens [CLS] a bad film [SEP] | labels: 0.8 | tokens [CLS] film [SEP] [PAD] [PAD] | labels: 0.8",
    ),
    "answers": (
        "squad squad.json",
        ["task=question_answering", "metric=[exact_match]"],
        "tokens [CLS] was what ? [SEP] the good film was long [SEP] "
        "| token_type_ids 0 0 0 0 0 1 1 1 1 1 1 | starts -1 -1 -1 -1 -1 0 4 9 14 18 -1 "
        "| labels: 6 to 7: ['good', 'film']",
    ),
    "tags": (
        "json tags.jsonl",
        ["task=token_classification", "metric=[span_f1]"],
        "row 0 | tokens [CLS] the unbelievable film [SEP] | words -1 0 1 2 -1 | labels -100 O B-x I-x -100 "
        "| row 1 | tokens [CLS] fine [SEP] [PAD] [PAD]",
    ),
    "chats": (
        "json chats.jsonl",
        ["task=instruction_tuning", *DECODER, TEMPLATE, "metric=[token_f1]"],
        "tokens ▁the ▁film go od </s> | labels -100 go od </s> -100 | prompt_lengths: 2",
    ),
}


@pytest.mark.parametrize(("data", "overrides", "expected"), CASES.values(), ids=CASES)
def test_labels_and_masks_stand_below_their_tokens(
    data: str, overrides: list[str], expected: str, files: None, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, file = data.split()
    source = [f"dataset={reader}", f"dataset.source.files.train={file}", "dataset.holdout.validation=0"]
    assert main(["validate", "--deep", "--show-batch", *source, "trainer.best_metric=loss", *overrides]) == 0
    shown = " | ".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    for piece in expected.split(" | "):
        assert piece in shown, shown
        shown = shown[shown.index(piece) + len(piece) :]


def test_a_batch_is_shown_of_data_that_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--show-batch"]) == 2
    assert "--show-batch: given without --deep" in capsys.readouterr().err
