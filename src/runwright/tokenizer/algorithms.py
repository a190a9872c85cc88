"""Vocabulary training: the texts, and byte-pair merges, word pieces, unigrams, words learned from them.

An algorithm has `train(pipeline, corpus, *, tokens, unk)`, a model whose first tokens are `tokens`;
normalizer and pre-tokenizer are those of the pipeline. The same texts give the same vocabulary:

The trainers of `tokenizers` 0.23 number affixed characters (`##a`), cut alphabets and add probabilities in
the order of a hash map that is seeded anew in each process: WordPiece, Unigram and limited alphabets came out
otherwise in each of three runs. Here characters are put in order before, by frequency, then by code point,
and scores are rounded after.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from runwright.config.options import walk
from runwright.errors import ConfigError, DataError
from runwright.types import OpenFraction, PositiveInt

ANY_CHARACTER = r"[\s\S]"  # a dot is none at the end of a line
NO_LIMIT = 2**31
PENALTY_STEP = 1e-4  # by which UnigramTrainer sets characters without a score of their own apart
SCORE_DIGITS = 4  # of a unigram's log probability; the order of its sums changes the eleventh
BATCH = 1000  # texts in memory at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Texts that can be read as often as one likes, some at a time."""

    batches: Callable[[], Iterator[list[str]]]
    state: dict[str, Any]  # tells one corpus from another, for JSON
    name: str  # for people


def corpus_of_rows(
    tables: Callable[[], Iterable[Any]], columns: Sequence[str], *, fingerprint: str
) -> Corpus:
    """The texts in columns of Datasets, which come one after the other; `fingerprint` identifies the rows."""

    def batches() -> Iterator[list[str]]:
        for rows in tables():
            for batch in rows.select_columns(list(columns)).with_format(None).iter(batch_size=BATCH):
                # of a list the texts in it: words of a sentence, answers, messages
                inner = (one for name in columns for value in batch[name] for _, one in walk(value))
                texts = [one for one in inner if not isinstance(one, list | tuple | dict)]
                if texts := [str(text) for text in texts if text not in (None, "")]:
                    yield texts

    state, name = {"rows": fingerprint, "columns": list(columns)}, f"{' and '.join(columns)} of train"
    return Corpus(batches=batches, state=state, name=name)


# --- algorithms -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Bpe:
    """Byte-pair encoding: the most frequent pair of neighbours becomes a token, again and again."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt
    alphabet_size: PositiveInt | None
    end_of_word_suffix: str | None

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        suffix: Any = {"end_of_word_suffix": self.end_of_word_suffix} if self.end_of_word_suffix else {}
        learned = _merge(pipeline, corpus, self, tokens=tokens, affix=suffix)
        if not _is_byte_level(pipeline):  # no byte is unknown
            suffix |= {"unk_token": unk, "fuse_unk": True}
        return models.BPE(vocab=learned["vocab"], merges=list(map(tuple, learned["merges"])), **suffix)


@dataclass(frozen=True, kw_only=True, slots=True)
class WordPiece:
    """Word pieces as BERT has them: the longest piece of the vocabulary first, from left to right."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt
    alphabet_size: PositiveInt | None
    continuing_prefix: str

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        prefix: Any = {"continuing_subword_prefix": self.continuing_prefix}
        affix = prefix if self.continuing_prefix else {}
        learned = _merge(pipeline, corpus, self, tokens=tokens, affix=affix)
        return models.WordPiece(vocab=learned["vocab"], unk_token=unk, **prefix)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unigram:
    """Pieces with probabilities; a text is cut into the likeliest ones (Kudo 2018)."""

    vocab_size: PositiveInt
    alphabet_size: PositiveInt | None
    shrinking_factor: OpenFraction

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        alphabet = _alphabet(pipeline, corpus, self.alphabet_size)
        _check_room(self.vocab_size, {*tokens, *alphabet})
        others = None
        if self.alphabet_size is not None:
            allowed = "".join(f"\\x{{{ord(character):x}}}" for character in alphabet)
            others = pre_tokenizers.Split(Regex(f"[^{allowed}]"), "removed")
        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocab_size,
            initial_alphabet=alphabet,
            shrinking_factor=self.shrinking_factor,
            special_tokens=list(tokens),
            unk_token=unk,
            show_progress=False,
        )
        learned = _train(models.Unigram(), trainer, pipeline, corpus, last_cut=others)["vocab"]
        pieces = _reproducible({piece: score for piece, score in learned if piece not in tokens})
        vocab = [*((token, 0.0) for token in tokens), *pieces]
        return models.Unigram(vocab=vocab, unk_id=list(tokens).index(unk), byte_fallback=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The most frequent words or characters that the pre-tokenizer cuts."""

    vocab_size: PositiveInt
    min_frequency: PositiveInt

    def train(self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str) -> models.Model:
        return models.WordLevel(vocab=self.count(pipeline, corpus, tokens=tokens), unk_token=unk)

    def count(
        self, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str] = (), last_cut: Any = None
    ) -> dict[str, int]:
        """Each word with its rank by frequency, after the special tokens."""
        limits: Any = {"vocab_size": self.vocab_size, "min_frequency": self.min_frequency}
        trainer = trainers.WordLevelTrainer(**limits, special_tokens=list(tokens), show_progress=False)
        return _train(models.WordLevel(unk_token=""), trainer, pipeline, corpus, last_cut=last_cut)["vocab"]


def _merge(
    pipeline: Tokenizer,
    corpus: Corpus,
    algorithm: Bpe | WordPiece,
    *,
    tokens: Sequence[str],
    affix: dict[str, Any],
) -> dict[str, Any]:
    """Vocabulary and merges, as `tokenizers` writes them; `affix` is the option for a prefix or suffix."""
    alphabet = _alphabet(pipeline, corpus, algorithm.alphabet_size)

    def learn(vocab_size: int, first: Sequence[str]) -> dict[str, Any]:
        options: Any = {"min_frequency": algorithm.min_frequency, "limit_alphabet": len(alphabet), **affix}
        # They are special in this model only: it is thrown away.
        options |= {"initial_alphabet": alphabet, "special_tokens": list(first), "show_progress": False}
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, **options)
        return _train(models.BPE(**affix), trainer, pipeline, corpus)

    affixed = learn(0, tokens)["vocab"].keys() - {*tokens, *alphabet} if affix else ()
    first = [*tokens, *sorted(affixed)]
    _check_room(algorithm.vocab_size, {*first, *alphabet})
    return learn(algorithm.vocab_size, first)


def _alphabet(pipeline: Tokenizer, corpus: Corpus, size: int | None) -> list[str]:
    """The characters that a model may have, most frequent first; all bytes where texts become bytes."""
    if _is_byte_level(pipeline):
        return sorted(pre_tokenizers.ByteLevel.alphabet())
    characters = pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated")
    ranks = Words(vocab_size=size or NO_LIMIT, min_frequency=1).count(pipeline, corpus, last_cut=characters)
    return sorted(ranks, key=ranks.__getitem__)


def _reproducible(scores: dict[str, float]) -> list[tuple[str, float]]:
    """Pieces and rounded scores, the likeliest first, the same for each order of the library's hash maps."""
    # Characters that no segmentation needs get the lowest score plus a multiple of PENALTY_STEP, which a hash
    # map chooses: all of them get the lowest. 160 trainings (5 corpora, 4 sizes, 8 each) gave 20 files with
    # this and 160 without; the pieces were the same, other scores differed by up to 4e-11.
    lowest = min(scores.values(), default=0.0)
    highest_penalty = PENALTY_STEP * sum(len(piece) == 1 for piece in scores)
    for piece, score in scores.items():
        unused = len(piece) == 1 and score < lowest + highest_penalty
        scores[piece] = round(lowest if unused else score, SCORE_DIGITS)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


def _train(
    model: models.Model, trainer: Any, pipeline: Tokenizer, corpus: Corpus, *, last_cut: Any = None
) -> dict[str, Any]:
    """The trained model as `tokenizers` writes it to JSON; raises DataError where there are no texts."""
    scratch = Tokenizer(model)
    scratch.normalizer = pipeline.normalizer
    cuts = [cut for cut in (pipeline.pre_tokenizer, last_cut) if cut]
    scratch.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    # In one thread: as fast on word counts, and a worker of a sweep has no more than its share.
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        scratch.train_from_iterator(corpus.batches(), trainer)
    finally:
        del os.environ["TOKENIZERS_PARALLELISM"]
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before
    if not scratch.get_vocab_size():
        raise DataError(f"there is no text to train a tokenizer on in {corpus.name}")
    return json.loads(scratch.to_str())["model"]


def _is_byte_level(pipeline: Tokenizer) -> bool:
    state = json.loads(pipeline.to_str())
    return '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]])


def _check_room(vocab_size: int, first: set[str]) -> None:
    if vocab_size < len(first):
        raise ConfigError(
            f"tokenizer.model.vocab_size: given {vocab_size}, expected at least {len(first)}: special tokens "
            "and characters of the texts take so many (tokenizer.model.alphabet_size limits the characters)"
        )
