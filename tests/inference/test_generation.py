"""A run that generates texts: streamed, from files, by other strategies, in Python, in a conversation."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import runwright
from runwright.cli.main import main
from runwright.errors import DataError
from runwright.task.instruction_tuning import InstructionTuning

TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
EXPERIMENT = [
    "task=translation", "dataset=json", "dataset.source.files.train=rows.jsonl",
    "dataset.source.files.validation=rows.jsonl", "tokenizer=train/word", "tokenizer.family=t5", "model=tiny",
    "metric=[]", "trainer.best_metric=loss", "trainer.best_mode=min", "trainer.max_epochs=null",
    "trainer.max_steps=4", "trainer.evaluate_every_epochs=null", "trainer.evaluate_every_steps=2",
    "trainer.num_threads=1", "optimizer.lr=0.01", "tracker=console", "generation.max_new_tokens=6",
    "generation.min_new_tokens=4",
]  # fmt: skip
MODEL = """\
_target_: runwright.model.scratch.build
architecture: t5
config: {d_model: 16, d_kv: 8, num_layers: 1, num_heads: 2, d_ff: 16}
dtype: float32
dropout: null
attention: auto
"""


DECODER = MODEL.replace("t5", "gpt2").replace(
    "{d_model: 16, d_kv: 8, num_layers: 1, num_heads: 2, d_ff: 16}", "{n_embd: 8, n_layer: 1, n_head: 1}"
)
ROLES = (
    "{% for m in messages %}{{ m.role }}:{{ m.content }}"
    '{% if m.role == "assistant" %}{{ eos_token }}{% else %}|{% endif %}{% endfor %}'
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    words = "abcdefgh"
    rows = [{"source": f"{one} {other}", "target": f"{other} {one}"} for one in words for other in words]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "tiny.yaml").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return runwright.run(EXPERIMENT).folder.resolve()


def texts_of(run: Path, *overrides: str) -> list[Any]:
    result = runwright.predict(run, ["a b", "c d e", "h"], overrides)
    return [record["predicted"] for record in result.predictions]


def test_a_run_keeps_its_strategy_and_texts_of_each_evaluation(run: Path) -> None:
    saved = json.loads((run / "best" / "generation_config.json").read_text())
    assert (saved["max_new_tokens"], saved["min_new_tokens"]) == (6, 4)
    samples = [file.read_text().splitlines() for file in sorted((run / "samples").iterdir())]
    assert [lines[0] for lines in samples] == ["row_id,prompt,expected,predicted"] * 2
    assert [len(lines) for lines in samples] == [11, 11]
    assert "Texts of validation" in (run / "report.html").read_text()
    records = [
        json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()
    ]
    assert records[1]["expected"] == "b a"
    assert records[1]["predicted"] == texts_of(run)[0]


def test_one_prompt_is_answered_by_its_text_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "a b"]) == 0
    assert capsys.readouterr().out == f"{texts_of(run)[0]}\n"


def test_a_stop_string_is_never_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = texts_of(run)[0]
    stop = text[3:6]
    assert main(["predict", str(run), "a b", "--set", f"stop_strings=['{stop}']"]) == 0
    assert capsys.readouterr().out == f"{text[: text.index(stop)].strip()}\n"


def test_a_file_is_answered_in_its_order(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines.txt").write_text("a b\nc d e\nh\n")
    assert main(["predict", str(run), "--file", str(tmp_path / "lines.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["predicted"] for line in lines] == texts_of(run)


def test_chance_is_drawn_for_each_record_whatever_chunk_it_is_read_in(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = ["a b"] * 5
    overrides = ["generation=sample", "generation.temperature=2.0"]
    whole = [record["predicted"] for record in runwright.predict(run, records, overrides).predictions]
    assert len({*whole}) > 1
    monkeypatch.setattr("runwright.inference.load.CHUNK_RECORDS", 2)
    chunks = runwright.predict(run, records, overrides).predictions
    assert [record["predicted"] for record in chunks] == whole


def test_overrides_of_generation_change_the_texts_alone(run: Path) -> None:
    whole, short = texts_of(run), texts_of(run, "generation.max_new_tokens=4")
    assert short != whole
    assert all(text.startswith(beginning) for beginning, text in zip(short, whole, strict=True))
    several = texts_of(
        run, "generation=sample", "generation.num_return_sequences=3", "generation.temperature=2.0"
    )
    assert [len(texts) for texts in several] == [3, 3, 3]
    assert len({*map(str, several)}) == 3
    assert several == texts_of(
        run, "generation=sample", "generation.num_return_sequences=3", "generation.temperature=2.0"
    )
    assert len(texts_of(run, "generation=beam", "generation.num_beams=2")) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "temperature=0.8"], "it is an option of generation=sample"),
        (["--set", "temprature=1"], "did you mean generation.temperature, an option of generation=sample"),
        (["--generation", "sample", "--set", "temprature=1"], "did you mean 'generation.temperature'?"),
        (
            ["--generation", "sample", "--set", "temperature=0"],
            "generation.temperature: given 0, expected a number",
        ),
        (["--generation", "smaple"], "did you mean 'sample'?"),
        (["--set", "temperature"], "--set: given 'temperature', expected KEY=VALUE"),
        (
            ["--generation", "beam", "--set", "num_return_sequences=5"],
            "at most generation.num_beams, which is 4",
        ),
        (
            ["--set", "min_new_tokens=9"],
            "min_new_tokens: given 9, expected at most generation.max_new_tokens",
        ),
    ],
)
def test_a_wrong_option_is_one_line(
    run: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), "a b", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_an_evaluation_takes_another_strategy_or_none(run: Path) -> None:
    [own] = runwright.evaluate(run)
    [beam] = runwright.evaluate(
        run, ["generation=beam", "generation.num_beams=2", "generation.min_new_tokens=1"]
    )
    [none] = runwright.evaluate(run, ["~generation"])
    assert beam.metrics == pytest.approx(own.metrics)
    assert beam.predictions.tolist() != own.predictions.tolist()
    assert none.predictions is None
    assert none.metrics == pytest.approx(own.metrics)


def test_a_conversation_keeps_its_history_until_the_input_ends(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["predict", str(run), "--chat"]) == 2
    assert "has no chat template" in capsys.readouterr().err
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "best" / "chat_template.jinja").write_text(TEMPLATE)
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\n\nc\n"))
    assert main(["predict", str(copy), "--chat"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == texts_of(run)[0]
    assert second == runwright.predict(run, [f"a b {first} c"]).predictions[0]["predicted"]


def test_a_conversation_without_room_begins_anew_and_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "best" / "chat_template.jinja").write_text(TEMPLATE)
    config = json.loads((copy / "best" / "config.json").read_text())
    (copy / "best" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 14}))
    monkeypatch.setattr("sys.stdin", io.StringIO("a b c d\ne f g\na a a a a a a a a a a a\nh\n"))
    assert main(["predict", str(copy), "--chat"]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert output.err.count("not answered: ") == output.err.count("the talk begins anew") == 2
    assert "the talk has 12 tokens, and the model room for 14 with the answer; shorten it" in output.err


def test_a_conversation_goes_on_after_what_no_template_takes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    refusal = "{% if 'no' in messages[-1].content %}{{ raise_exception('refused') }}{% endif %}"
    (copy / "best" / "chat_template.jinja").write_text(refusal + TEMPLATE)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no\n\xff\xfe\na b\n"), encoding="utf-8"))
    assert main(["predict", str(copy), "--chat"]) == 0
    output = capsys.readouterr()
    assert output.err == "not answered: the chat template fails: refused; the talk begins anew\n"
    assert len(output.out.splitlines()) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "a.csv"], "--output: given with --chat"),
        (["--generation", "sample", "--set", "num_return_sequences=2"], "--set num_return_sequences=1"),
    ],
)
def test_a_conversation_has_one_answer_and_no_format(
    run: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), "--chat", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_prompt_needs_no_input_and_takes_what_its_record_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"ask": f"Add {i}.", "more": "2", "system": "Be kind.", "reply": str(i)} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(DECODER)
    monkeypatch.chdir(tmp_path)
    form = "+task.forms.own={prompt: ask, input: more, response: reply, system: system}"
    changes = ["tokenizer=train/byte_bpe", f"task.chat_template='{ROLES}'", form, "tokenizer.family=gpt2"]
    kept = [option for option in EXPERIMENT if not option.startswith(("task=", "tokenizer"))]
    run = runwright.run(["task=instruction_tuning", *kept, *changes, "tokenizer.model.vocab_size=300"]).folder
    prompts: list[str] = []
    encode_records = InstructionTuning.encode_records

    def noting(task: Any, columns: Any) -> Any:
        examples = encode_records(task, columns)
        prompts.extend(task.tokenizer.decode(example["input_ids"]) for example in examples)
        return examples

    monkeypatch.setattr(InstructionTuning, "encode_records", noting)
    runwright.predict(run, [{"ask": "Add 3.", "more": "4", "system": "Be brief."}, {"ask": "Add 3."}])
    assert main(["predict", str(run), "Add 5."]) == 0
    assert prompts == ["system:Be brief.|user:Add 3.\n\n4|", "user:Add 3.|", "user:Add 5.|"]


def test_targets_of_several_types_stop_a_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = [{"source": "a", "target": ["b"]}, {"source": "a", "target": "b"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        runwright.run(EXPERIMENT)
    assert (caught.value.row, caught.value.column) == (1, "target")
    assert "no such column" not in caught.value.problem


def test_a_task_without_texts_has_no_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "generation=greedy"]) == 2
    assert "SequenceClassification generates no texts" in capsys.readouterr().err
