"""Vocabulary training: byte-pair merges, word pieces, unigrams, words; the same texts, the same vocabulary.

The trainers of `tokenizers` 0.23 number affixed characters (`##a`), cut alphabets and add probabilities in
the order of a hash map that is seeded anew in each process: WordPiece, Unigram and limited alphabets came out
otherwise in each of three runs. Here characters are put in order before, by frequency, then by code point,
and scores are rounded after.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from runwright.errors import ConfigError, DataError
from runwright.tokenizer.pipeline import ANY_CHARACTER
from runwright.tokenizer.texts import Corpus
from runwright.types import OpenFraction, PositiveInt

NO_LIMIT = 2**31
PENALTY_STEP = 1e-4  # by which UnigramTrainer sets characters without a score of their own apart
SCORE_DIGITS = 4  # of a unigram's log probability; the order of its sums changes the eleventh


@dataclass(frozen=True, kw_only=True, slots=True)
class Bpe:
    """Byte-pair encoding: the most frequent pair of neighbours becomes a token, again and again."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt
    alphabet_size: PositiveInt | None
    max_piece_length: PositiveInt | None
    end_of_word_suffix: str | None

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        """A model whose first tokens are `tokens`."""
        suffix, longest = self.end_of_word_suffix, self.max_piece_length
        learned = _merge(pipeline, corpus, self, tokens=tokens, suffix=suffix, longest=longest)
        merges = [tuple(merge) for merge in learned["merges"]]
        options: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
        if not _is_byte_level(pipeline):  # no byte is unknown
            options |= {"unk_token": unk, "fuse_unk": True}
        return models.BPE(vocab=learned["vocab"], merges=merges, **options)


@dataclass(frozen=True, kw_only=True, slots=True)
class WordPiece:
    """Word pieces as BERT has them: the longest piece of the vocabulary first, from left to right."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt
    alphabet_size: PositiveInt | None
    continuing_prefix: str
    max_word_length: PositiveInt

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        """A model whose first tokens are `tokens`."""
        learned = _merge(pipeline, corpus, self, tokens=tokens, prefix=self.continuing_prefix)
        return models.WordPiece(
            vocab=learned["vocab"],
            unk_token=unk,
            max_input_chars_per_word=self.max_word_length,
            continuing_subword_prefix=self.continuing_prefix,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Unigram:
    """Pieces with probabilities; a text is cut into the likeliest ones (Kudo 2018)."""

    vocab_size: PositiveInt
    alphabet_size: PositiveInt | None
    max_piece_length: PositiveInt
    shrinking_factor: OpenFraction

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        """A model whose first tokens are `tokens`."""
        alphabet = alphabet_of(pipeline, corpus, self.alphabet_size)
        num_characters = len({*tokens, *alphabet})
        check_room(self.vocab_size, num_characters, "special tokens and the characters of the texts")
        scratch = Tokenizer(models.Unigram())
        scratch.normalizer, scratch.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
        if self.alphabet_size is not None:
            known = "".join(f"\\x{{{ord(character):x}}}" for character in alphabet)
            cut = pre_tokenizers.Split(Regex(f"[^{known}]"), "removed")
            steps = [pipeline.pre_tokenizer, cut] if pipeline.pre_tokenizer else [cut]
            scratch.pre_tokenizer = pre_tokenizers.Sequence(steps)
        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocab_size,
            show_progress=False,
            special_tokens=list(tokens),
            initial_alphabet=alphabet,
            shrinking_factor=self.shrinking_factor,
            unk_token=unk,
            max_piece_length=self.max_piece_length,
        )
        train_on(scratch, trainer, corpus)
        learned = json.loads(scratch.to_str())["model"]["vocab"]
        pieces = _reproducible((piece, score) for piece, score in learned if piece not in tokens)
        vocab = [*((token, 0.0) for token in tokens), *pieces]
        return models.Unigram(vocab=vocab, unk_id=list(tokens).index(unk), byte_fallback=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What the pre-tokenizer cuts, words or characters: the most frequent ones are the vocabulary."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        """A model whose first tokens are `tokens`."""
        check_room(self.vocab_size, len(tokens) + 1, "special tokens and a word")
        vocab = count_words(pipeline.normalizer, pipeline.pre_tokenizer, corpus, self, tokens=tokens)
        return models.WordLevel(vocab=vocab, unk_token=unk)


def _merge(
    pipeline: Tokenizer,
    corpus: Corpus,
    algorithm: Bpe | WordPiece,
    *,
    tokens: Sequence[str],
    prefix: str | None = None,
    suffix: str | None = None,
    longest: int | None = None,
) -> dict[str, Any]:
    """Vocabulary and merges, as `tokenizers` writes them."""
    alphabet = alphabet_of(pipeline, corpus, algorithm.alphabet_size)
    given = {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    affixes: dict[str, Any] = {name: affix for name, affix in given.items() if affix}

    def learn(vocab_size: int, first: Sequence[str]) -> dict[str, Any]:
        scratch = Tokenizer(models.BPE(**affixes))
        scratch.normalizer, scratch.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=algorithm.min_frequency,
            show_progress=False,
            special_tokens=list(first),  # in this model only: it is thrown away
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            max_token_length=longest,
            **affixes,
        )
        train_on(scratch, trainer, corpus)
        return json.loads(scratch.to_str())["model"]

    first = [*tokens]
    if prefix or suffix:
        known = {*tokens, *alphabet}
        first += sorted(learn(0, tokens)["vocab"].keys() - known)
    num_characters = len({*first, *alphabet})
    check_room(algorithm.vocab_size, num_characters, "special tokens and the characters of the texts")
    return learn(algorithm.vocab_size, first)


def alphabet_of(pipeline: Tokenizer, corpus: Corpus, size: int | None) -> list[str]:
    """The characters that a model may know, most frequent first; all bytes where texts become bytes."""
    if _is_byte_level(pipeline):
        return sorted(pre_tokenizers.ByteLevel.alphabet())
    characters = pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated")
    steps = [pipeline.pre_tokenizer, characters] if pipeline.pre_tokenizer else [characters]
    found = count_words(
        pipeline.normalizer,
        pre_tokenizers.Sequence(steps),
        corpus,
        Words(vocab_size=size or NO_LIMIT, min_frequency=1),
        tokens=[],
    )
    return sorted(found, key=found.__getitem__)


def count_words(
    normalizer: Any, pre_tokenizer: Any, corpus: Corpus, words: Words, *, tokens: Sequence[str]
) -> dict[str, int]:
    """What a pre-tokenizer cuts, with its place by frequency."""
    scratch = Tokenizer(models.WordLevel(unk_token=""))
    if normalizer is not None:
        scratch.normalizer = normalizer
    if pre_tokenizer is not None:
        scratch.pre_tokenizer = pre_tokenizer
    trainer = trainers.WordLevelTrainer(
        vocab_size=words.vocab_size,
        min_frequency=words.min_frequency,
        show_progress=False,
        special_tokens=list(tokens),
    )
    train_on(scratch, trainer, corpus)
    return scratch.get_vocab(with_added_tokens=False)


def _reproducible(learned: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Pieces and rounded scores, the likeliest first, the same for each order of the library's hash maps."""
    # Characters that no segmentation needs get the lowest score plus a multiple of PENALTY_STEP, which a hash
    # map chooses: all of them get the lowest. 160 trainings (5 corpora, 4 sizes, 8 each) gave 20 files with
    # this and 160 without; the pieces were the same, other scores differed by up to 4e-11.
    scores = dict(learned)
    lowest = min(scores.values(), default=0.0)
    highest_penalty = PENALTY_STEP * sum(len(piece) == 1 for piece in scores)
    for piece, score in scores.items():
        unused = len(piece) == 1 and score < lowest + highest_penalty
        scores[piece] = round(lowest if unused else score, SCORE_DIGITS)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


def train_on(scratch: Tokenizer, trainer: Any, corpus: Corpus) -> None:
    """Train in one thread: as fast on word counts, and a worker of a sweep has no more than its share."""
    with _one_thread():
        scratch.train_from_iterator(corpus.batches(), trainer)
    if not scratch.get_vocab_size():
        raise DataError(f"there is no text to train a tokenizer on in {corpus.name}")


def _is_byte_level(pipeline: Tokenizer) -> bool:
    state = json.loads(pipeline.to_str())
    return '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]])


def check_room(vocab_size: int, least: int, what: str) -> None:
    """Raise ConfigError where a vocabulary cannot hold what it must."""
    if vocab_size < least:
        raise ConfigError(
            f"tokenizer.model.vocab_size: given {vocab_size}, expected at least {least}: {what} take so many "
            "(tokenizer.model.alphabet_size limits the characters)"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})
