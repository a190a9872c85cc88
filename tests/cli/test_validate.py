"""`runwright validate --deep`: what it says of rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from runwright.cli.main import main

SMALL = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}"
BERT = ["model=scratch", "tokenizer=train/wordpiece", "~model.config", f"+model.config={SMALL}"]
T5 = [
    "model=scratch",
    "tokenizer=train/wordpiece",
    "model.architecture=t5",
    "~model.config",
    "+model.config={}",
]
LOSS = ["metric=[perplexity]", "trainer.best_metric=loss", "trainer.best_mode=min"]
MAX = ["trainer.best_metric=chrf", "trainer.best_mode=max"]
VECTORS = ["task=sentence_embedding", "task.text_column=source", "task.text_pair_column=target"]
VECTORS += [
    "task.problem=retrieval",
    "task.objective=in_batch_negatives",
    "task.label_column=null",
    "metric=[mrr_10]",
]


def deep(file: Path, *overrides: str) -> int:
    files = ["dataset=csv", f"dataset.source.files.train={file}", "dataset.holdout.validation=0"]
    return main(["validate", "--deep", *files, *overrides])


def test_class_names_that_may_be_meant_otherwise_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\na,Pos\nb,pos\nc,joy;anger\n")
    assert deep(file) == 0
    assert "data: classes that look the same: 'Pos', 'pos'" in (said := capsys.readouterr().out)
    assert "1 of 3 class names hold ';'" in said


def test_a_comma_between_two_labels_is_no_decimal_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text('text,label\na,"1,2"\nb,"0,1"\nc,"2,1"\n')
    assert deep(file, "task.problem=multi_label") == 0
    assert "CastColumns" not in capsys.readouterr().out
    assert deep(file) == 0
    assert "CastColumns" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "refused"),
    [
        ("tokenizer.family=t5", ""),
        ("tokenizer.family=gpt2", "tokenizer: it puts no token after a text"),
        ("tokenizer.padding_side=left", "tokenizer.padding_side: given left, expected right"),
        ("task.source_column=english", "column 'english': no such column"),
        ("task.target_column=french", "column 'french': no such column"),
    ],
)
def test_a_tokenizer_that_is_not_trained_yet_is_judged_by_its_family(
    option: str, refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "a.csv").write_text("source,target\na,b\nc,d\n")
    config = ["task=translation", "model=scratch_encoder_decoder", "tokenizer=train/unigram", "metric=[chrf]"]
    assert bool(deep(file, *config, option)) == bool(refused)
    shown = capsys.readouterr()
    assert refused in shown.err if refused else "right:" in shown.out


def test_a_missing_chat_template_is_told_of_a_tokenizer_that_will_be_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "a.csv").write_text("prompt,response\na,b\nc,d\n")
    config = [
        "task=instruction_tuning",
        "model=scratch_decoder",
        "tokenizer=train/bpe",
        "metric=[token_f1]",
    ]
    assert deep(file, *config) != 0
    assert "task.chat_template: the tokenizer has none" in capsys.readouterr().err
    assert deep(file, *config, "task.chat_template='{{ messages }}{{ eos_token }}'") == 0


def test_a_local_tokenizer_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file := tmp_path / "a.csv").write_text("text,label\na,b\nc,d\n")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert deep(file, f"tokenizer.name={tmp_path}/tokenizer") == 2
    assert "holds no tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (
            ["task=translation", "metric=[chrf]", *MAX, *BERT, "model.architecture=ernie"],
            "for this kind of AutoModel: AutoModelForSeq2SeqLM",
        ),
        (["task=masked_language_modeling", *LOSS, *T5], "for this kind of AutoModel: AutoModelForMaskedLM"),
        (
            ["task=causal_language_modeling", *LOSS, *BERT, "model.architecture=ernie"],
            "ErnieForCausalLM is an encoder and sees",
        ),
        (
            [*BERT, "model.architecture=longformer", "model.attention=sdpa"],
            "does not support an attention",
        ),
        ([*BERT, "model.attention=flash_attention_2"], "FlashAttention2 has been toggled on"),
        ([*VECTORS, *LOSS[1:], *T5], "T5Model is an encoder with a decoder; take an encoder"),
        (["model.freeze=[layers:9]"], "model.freeze: 'layers:9', but the model has 6 layers"),
    ],
)
def test_what_an_architecture_cannot_do_is_refused_before_weights_are_made(
    overrides: list[str], refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "a.csv").write_text("text,label,source,target\na,b,a,b\nc,d,c,d\n")
    assert deep(file, *overrides) == 2
    assert refused in capsys.readouterr().err
