"""Chats in all forms, the tokens that are trained on, what is too long, and answers that are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from runwright.dataset.readers.files import read_json, read_parquet
from runwright.errors import ConfigError, DataError
from runwright.generation.strategies import Greedy
from runwright.predictions import join
from runwright.task.instruction_tuning import InstructionTuning
from runwright.task.text import IGNORED

CONF = Path(__file__).resolve().parents[2] / "conf" / "task" / "instruction_tuning.yaml"
LEFT_OUT = ("_target_", "defaults", "loss", "pad_to")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "And é 3 more?"},
    {"role": "assistant", "content": "7, ça va."},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, and the marks of ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    roles = {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "bos_token": "<|im_start|>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<|endoftext|>", **roles)


@pytest.fixture
def make(tokenizer: PreTrainedTokenizerFast) -> Callable[..., InstructionTuning]:
    """The task with the shipped options, but for the changes."""
    options = yaml.safe_load(CONF.read_text("utf-8"))
    options = {name: value for name, value in options.items() if name not in LEFT_OUT}
    options["chat_template"] = CHATML
    return lambda **changes: InstructionTuning(tokenizer, **options | changes)


def rows_of(**columns: list[Any]) -> Dataset:
    return Dataset.from_dict({"row_id": list(range(len(next(iter(columns.values()))))), **columns})


def encode(task: InstructionTuning, rows: Dataset) -> list[dict[str, Any]]:
    task.fit({"train": rows})
    return task.encode(task.inputs_of(rows, split="train")[:])


def answers_in(task: InstructionTuning, example: dict[str, Any]) -> str:
    return task.tokenizer.decode([token for token in example["labels"] if token != IGNORED])


def test_every_answer_is_trained_on_and_nothing_else(make: Callable[..., InstructionTuning]) -> None:
    task = make()
    (example,) = encode(task, rows_of(messages=[CHAT]))
    assert answers_in(task, example) == "4<|im_end|>7, ça va.<|im_end|>"
    targets = [(i, label) for i, label in enumerate(example["labels"]) if label != IGNORED]
    assert all(example["input_ids"][i + 1] == label for i, label in targets)
    text = task.tokenizer.decode(example["input_ids"])
    assert text == task.tokenizer.apply_chat_template(CHAT, tokenize=False)
    prompt = task.tokenizer.decode(example["input_ids"][: example["prompt_length"]])
    assert prompt == task.tokenizer.apply_chat_template(CHAT[:-1], tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("chat", [CHAT, CHAT[1:3], [*CHAT[:3], {"role": "assistant", "content": "Or 5"}]])
def test_borders_that_are_derived_are_those_that_the_template_marks(
    make: Callable[..., InstructionTuning], chat: list[dict[str, str]]
) -> None:
    examples = [encode(make(chat_template=text), rows_of(messages=[chat]))[0] for text in (CHATML, MARKED)]
    assert examples[0] == examples[1]
    marked = make(chat_template=MARKED).tokenizer.apply_chat_template(
        chat, chat_template=MARKED, return_dict=True, return_assistant_tokens_mask=True
    )
    labels = [label != IGNORED for label in examples[0]["labels"]]
    assert labels[:-1] == [mask == 1 for mask in marked["assistant_masks"][1:]]


FORMS = {
    "chat": {"messages": [CHAT[1:3]]},
    "sharegpt": {
        "conversations": [[{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]],
    },
    "alpaca": {"instruction": ["2 + 2?"], "input": [""], "output": ["4"], "text": ["all of it"]},
    "completion": {"prompt": ["2 + 2?"], "completion": ["4"]},
    "completion of messages": {"prompt": [CHAT[1:2]], "completion": [CHAT[2:3]]},
    "pair": {"prompt": ["2 + 2?"], "response": ["4"], "system": [None]},
    "messages as JSON": {"messages": [json.dumps(CHAT[1:3])]},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_each_form_comes_through_the_readers_as_the_same_example(
    make: Callable[..., InstructionTuning], tmp_path: Path, form: str, ending: str
) -> None:
    file = tmp_path / f"rows.{ending}"
    rows = Dataset.from_dict(FORMS[form])
    rows.to_json(file) if ending == "jsonl" else rows.to_parquet(file)
    options: dict[str, Any] = {"files": {"train": str(file)}, "folder": None, "streaming": False}
    if ending == "jsonl":
        read = read_json(**options, encoding="utf-8", field=None)
    else:
        read = read_parquet(**options)
    (wanted,) = encode(make(), rows_of(messages=[CHAT[1:3]]))
    assert encode(make(), read["train"]) == [wanted]


def test_an_input_and_a_system_text_join_the_prompt(make: Callable[..., InstructionTuning]) -> None:
    task = make(system="Answer.")
    rows = rows_of(instruction=["Add.", "Add."], input=["2 and 2", None], output=["4", "5"])
    task.fit({"train": rows})
    assert task.prompt_texts(rows) == ["Answer.\nAdd.\n\n2 and 2", "Answer.\nAdd."]
    assert task.references(rows) == [["4"], ["5"]]
    assert task.text_columns == ("instruction", "input")
    assert task.opening == [{"role": "system", "content": "Answer."}]


def test_the_form_is_the_one_whose_columns_are_all_there(make: Callable[..., InstructionTuning]) -> None:
    columns = {"instruction": ["Add."], "context": ["2, 2"]}
    for rows in (rows_of(**columns, response=["4"]), rows_of(**columns)):
        assert make().prompt_texts(rows) == ["Add.\n\n2, 2"]
    assert make().references(rows_of(**columns)) is None


def test_of_several_good_answers_the_first_is_trained_on(make: Callable[..., InstructionTuning]) -> None:
    rows = rows_of(prompt=["2 + 2?", "1 + 1?"], response=[["4", "four"], ["2"]], system=["", None])
    task = make()
    assert [answers_in(task, example) for example in encode(task, rows)] == ["4<|im_end|>", "2<|im_end|>"]
    assert task.references(rows) == [["4", "four"], ["2"]]


@pytest.mark.parametrize("answer", ['[{"role": "engineer", "name": "Ada"}]', 4, 0.5])
def test_an_answer_may_be_a_number_or_json(make: Callable[..., InstructionTuning], answer: Any) -> None:
    task, rows = make(), rows_of(prompt=["Who?"], response=[answer])
    assert answers_in(task, encode(task, rows)[0]) == f"{answer}<|im_end|>"
    assert task.references(rows) == [[str(answer)]]


def test_short_answers_without_an_end_token_are_trained_on_alone(
    make: Callable[..., InstructionTuning],
) -> None:
    template = "{% for message in messages %}{{ message['content'] }}/{% endfor %}"
    chat = [
        {"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, "abcd", strict=True)
    ]
    task = make(chat_template=template)
    assert answers_in(task, encode(task, rows_of(messages=[chat]))[0]) == "b/d/"


def test_what_follows_the_last_answer_is_left_out_with_a_note(make: Callable[..., InstructionTuning]) -> None:
    task = make()
    examples = encode(task, rows_of(messages=[CHAT[1:3], CHAT[1:4]]))
    assert examples[0]["input_ids"] == examples[1]["input_ids"]
    assert task.notes == ["train: turns after the last answer are left out (1 rows, the first is row 1)"]


BAD_ROWS = {
    "the answer is empty": {"prompt": ["a", "a"], "response": ["b", " "]},
    "the prompt is empty": {"prompt": ["a", ""], "response": ["b", "b"]},
    "a chat without a turn of 'assistant'": {"messages": [CHAT, CHAT[:2]]},
    "no prompt before the first answer": {"messages": [CHAT, CHAT[2:]]},
    "there is no prompt before": {"messages": [CHAT, []]},
    r"expected messages with 'role' and 'content'": {"messages": [json.dumps(CHAT), '[{"who": "me"}]']},
    "where a text is expected": {"messages": [json.dumps(CHAT), '[{"role": "user", "content": ["a"]}]']},
}


@pytest.mark.parametrize("problem", BAD_ROWS)
def test_a_row_that_is_no_chat_is_refused(make: Callable[..., InstructionTuning], problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        make().fit({"train": rows_of(**BAD_ROWS[problem])})
    assert (caught.value.split, caught.value.row) == ("train", 1)


def test_an_answer_that_is_missing_names_its_column(make: Callable[..., InstructionTuning]) -> None:
    for response in ([["b"], []], ["b", None]):
        with pytest.raises(DataError, match="the answer is empty") as caught:
            make().fit({"train": rows_of(prompt=["a", "a"], response=response)})
        assert (caught.value.row, caught.value.column) == (1, "response")


@pytest.mark.parametrize(
    ("column", "lines"),
    [
        ("messages", ['{"messages": [{"role": "user", "content": "a"}]}', '{"messages": "b"}']),
        ("response", ['{"prompt": "a", "response": "b"}', '{"prompt": "a", "response": 4}']),
    ],
)
def test_a_column_of_several_types_is_refused_with_the_reason(
    make: Callable[..., InstructionTuning], tmp_path: Path, column: str, lines: list[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    options: dict[str, Any] = {"files": {"train": str(tmp_path / "rows.jsonl")}, "folder": None}
    rows = read_json(**options, streaming=False, encoding="utf-8", field=None)["train"]
    with pytest.raises(DataError) as caught:
        make().fit({"train": rows})
    assert (caught.value.row, caught.value.column) == (1, column)
    assert "no such column" not in caught.value.problem


def test_columns_of_no_form_are_refused_with_those_of_all(make: Callable[..., InstructionTuning]) -> None:
    with pytest.raises(DataError, match=r"columns are question, .* task\.forms \(chat: messages, role"):
        make().fit({"train": rows_of(question=["a"], answer=["b"])})
    with pytest.raises(DataError, match="no answers to learn from"):
        make().fit({"train": rows_of(prompt=["a"])})
    task = make(forms={"mine": {"prompt": "question", "response": "answer"}})
    assert len(encode(task, rows_of(question=["a"], answer=["b"]))) == 1


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ raise_exception('no system, please') }}", "the chat template fails: no system, please"),
        ("{{ messages[0].content + 1 }}", "the chat template fails: can only concatenate"),
        (CHATML.replace("{% for", "{{ messages | length }}{% for"), "renders turn 3 otherwise"),
        (
            "{% if false %}{% generation %}{% endgeneration %}{% endif %}" + CHATML,
            "no tokens of an answer behind a prompt",
        ),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_refused(
    make: Callable[..., InstructionTuning], template: str, problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        encode(make(chat_template=template), rows_of(messages=[CHAT]))
    assert caught.value.row == 0


def test_options_that_cannot_work_are_refused(
    make: Callable[..., InstructionTuning], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"task\.forms\.mine: given the keys prompt, answer"):
        make(forms={"mine": {"prompt": "a", "answer": "b"}})
    with pytest.raises(DataError, match="the chat template cannot be read"):
        encode(make(chat_template=str(tmp_path / "missing.jinja")), rows_of(messages=[CHAT]))
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match=r"task\.chat_template: the tokenizer has none; give a file"):
        encode(make(chat_template=None), rows_of(messages=[CHAT]))
    endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ConfigError, match="no eos token"):
        InstructionTuning(
            endless, forms={}, roles={}, system=None, chat_template=None, max_length=8, too_long="drop"
        )


class Columns:
    """Encoded examples as the notes look at them."""

    def __init__(self, examples: list[dict[str, Any]]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def column(self, name: str) -> np.ndarray:
        return np.array([example[name] for example in self.examples])

    def fetch(self, positions: list[int]) -> list[dict[str, Any]]:
        return [self.examples[position] for position in positions]


def test_an_answer_is_never_cut(make: Callable[..., InstructionTuning]) -> None:
    rows = rows_of(messages=[CHAT, CHAT[1:3]])
    long, _ = (len(example["input_ids"]) for example in encode(make(), rows))
    with pytest.raises(DataError, match=rf"{long} tokens, but task\.max_length={long - 1} and an answer is"):
        encode(make(max_length=long - 1), rows)
    dropping = make(max_length=long - 1, too_long="drop")
    dropped = encode(dropping, rows)
    assert [example["example_id"] for example in dropped] == [1]
    assert dropping.example_notes(Columns(dropped), split="train", num_rows=2) == [
        f"train: 1 of 2 rows are longer than task.max_length={long - 1} and left out (task.too_long=drop)"
    ]


def test_an_answer_that_does_not_end_is_noted(make: Callable[..., InstructionTuning]) -> None:
    task = make(chat_template=CHATML.replace("<|im_end|>", "."))
    examples = encode(task, rows_of(messages=[CHAT[1:3]]))
    assert answers_in(task, examples[0]) == "4.\n"
    assert task.example_notes(Columns(examples), split="train", num_rows=1) == [
        "train: answers end with '\\n', not with '<|im_end|>': generation.stop_strings has to end them"
    ]


@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_losses_and_texts_do_not_depend_on_the_batch(
    make: Callable[..., InstructionTuning], tokenizer: PreTrainedTokenizerFast, monkeypatch: Any, side: str
) -> None:
    monkeypatch.setattr(tokenizer, "padding_side", side)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("llama", **sizes, num_key_value_heads=2, vocab_size=len(tokenizer))
    model = AutoModelForCausalLM.from_config(config).eval()
    task = make()
    task.strategy = Greedy(
        max_new_tokens=5, min_new_tokens=0, no_repeat_ngram_size=0, repetition_penalty=1.0, stop_strings=[]
    )
    rows = rows_of(messages=[CHAT, CHAT[1:3], CHAT[:3]])
    examples = encode(task, rows)
    together: Any = task.evaluate_batch(model, task.collate(examples))
    alone: Any = join([task.evaluate_batch(model, task.collate([example])) for example in examples])
    assert np.allclose(together.losses, alone.losses, rtol=1e-5)
    assert together.loss_counts.tolist() == alone.loss_counts.tolist() == [13, 2, 2]
    assert together.generated.values.tolist() == alone.generated.values.tolist()
    ids = torch.tensor([examples[1]["input_ids"]])
    log_chances = model(input_ids=ids).logits[0].log_softmax(dim=-1)
    wanted = sum(-log_chances[i, t] for i, t in enumerate(examples[1]["labels"]) if t != IGNORED)
    assert together.losses[1] == pytest.approx(float(wanted), rel=1e-5)
    texts: Any = task.assemble(together, rows)
    assert [one[0] for one in texts.expected] == ["7, ça va.", "4", "4"]
    asked = task.encode_records({"messages": ["2 + 2?", CHAT[1:3]], "row_id": [0, 1]})
    assert asked[0]["input_ids"] == asked[1]["input_ids"]
    assert asked[0]["input_ids"] == examples[1]["input_ids"][: examples[1]["prompt_length"]]
    answers: Any = task.assemble_records(task.evaluate_batch(model, task.collate(asked[:1])), {})
    assert answers.predicted[0] == texts.predicted[1]


def test_what_was_learned_brings_the_template_and_the_columns_back(
    make: Callable[..., InstructionTuning], tmp_path: Path
) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(MARKED, encoding="utf-8")
    task = make(chat_template=str(file))
    task.fit({"train": rows_of(conversations=FORMS["sharegpt"]["conversations"])})
    file.unlink()
    other = make(chat_template=str(file))
    other.load_state_dict(json.loads(json.dumps(task.state_dict())))
    assert other.text_columns == ("conversations",)
    assert other.tokenizer.chat_template == MARKED
