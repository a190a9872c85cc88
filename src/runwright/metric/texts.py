"""Metrics of generated texts against one or several expected texts.

Each is computed from statistics [N, K] of single examples, summed by the weights, so that all samples of a
bootstrap cost one product of matrices. BLEU, chrF and TER are sacrebleu's: the same numbers, bit for bit.
Where examples have several generated texts, the first is judged.
"""

import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import regex

from runwright.config.options import TARGET
from runwright.config.targets import instantiate
from runwright.errors import DataError
from runwright.metric.answers import Rules, text_exact_match, text_f1
from runwright.metric.means import computed_once, labels_of, ratio, weighted_mean
from runwright.types import NonNegativeInt, PositiveInt

BleuTokenizer = Literal["13a", "intl", "zh", "char", "none"]
Variant = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
Score = Callable[[str, Sequence[str]], float]

SIGNED = ("bleu", "chrf", "ter")  # sacrebleu's
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"  # no spaces between words
_WORD = regex.compile(rf"{_UNSPACED}\p{{M}}*|(?:(?!{_UNSPACED})[\p{{L}}\p{{M}}\p{{N}}])+")


def bleu(predictions: Any, weights: np.ndarray, *, tokenizer: BleuTokenizer, lowercase: bool) -> np.ndarray:
    """BLEU of all texts together, from 0 to 100 (Papineni et al. 2002; Post 2018)."""
    return _corpus_score("bleu", predictions, weights, tokenizer=tokenizer, lowercase=lowercase)


def chrf(predictions: Any, weights: np.ndarray, *, word_order: NonNegativeInt, lowercase: bool) -> np.ndarray:
    """F2 of n-grams of 1 to 6 characters and 1 to `word_order` words, from 0 to 100 (Popović 2015, 2017)."""
    return _corpus_score("chrf", predictions, weights, word_order=word_order, lowercase=lowercase)


def ter(
    predictions: Any,
    weights: np.ndarray,
    *,
    normalized: bool,
    no_punct: bool,
    asian_support: bool,
    case_sensitive: bool,
) -> np.ndarray:
    """Edits for 100 expected words, a move of several being one (Snover et al. 2006); less is better."""
    options = {"normalized": normalized, "no_punct": no_punct, "asian_support": asian_support}
    return _corpus_score("ter", predictions, weights, **options, case_sensitive=case_sensitive)


def length_ratio(predictions: Any, weights: np.ndarray, *, tokenizer: BleuTokenizer) -> np.ndarray:
    """Words of the predicted texts / words of the expected ones nearest in length, as in BLEU's penalty."""
    _, sums = _corpus_sums("bleu", predictions, weights, tokenizer=tokenizer, lowercase=False)
    return ratio(sums[:, 0], sums[:, 1], undefined=np.nan)


def rouge(predictions: Any, weights: np.ndarray, *, variant: Variant, stemmer: bool) -> np.ndarray:
    """Mean F1 with the nearest expected text, from 0 to 1 (Lin 2004), as rouge-score computes it.

    Of words and of longest common subsequences; rougeLsum takes sentences from lines.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([variant], tokenizer=_Words(stemmer=stemmer))

    def score(text: str, expected: Sequence[str]) -> float:
        return scorer.score_multi(expected, text)[variant].fmeasure

    return _mean_score(score, predictions, weights, ("rouge", variant, stemmer))


def exact_match(predictions: Any, weights: np.ndarray, *, normalization: Rules) -> np.ndarray:
    """Share of texts that are one of the expected ones; none: without the spaces around them."""
    score = partial(text_exact_match, rules=normalization)
    return _mean_score(score, predictions, weights, ("exact", normalization))


def token_f1(predictions: Any, weights: np.ndarray, *, normalization: Literal["squad", "cmrc"]) -> np.ndarray:
    """Mean F1 of the words with the nearest expected text, from 0 to 1, as for answers to questions."""
    return _mean_score(partial(text_f1, rules=normalization), predictions, weights, ("f1", normalization))


def distinct_n(predictions: Any, weights: np.ndarray, *, n: PositiveInt) -> np.ndarray:
    """Share of the n-grams of words that are new in their text (1 - seq-rep-n, Welleck et al. 2020).

    Within texts: a share over all of them would fall with their number, and in each bootstrap sample.
    """

    def counts(texts: Sequence[str], _: object) -> list[tuple[int, int]]:
        words = [_words(text) for text in texts]
        grams = [list(zip(*(text[start:] for start in range(n)), strict=False)) for text in words]
        return [(len(set(text)), len(text)) for text in grams]

    sums = weights @ _per_example(predictions, ("distinct", n), counts)
    return ratio(sums[:, 0], sums[:, 1], undefined=np.nan)


class _Words:
    """Words for rouge-score, whose own tokenizer drops all letters but a to z; the same of ASCII texts."""

    def __init__(self, *, stemmer: bool) -> None:
        self._stem: Callable[[str], str] = str
        if stemmer:
            from nltk.stem.porter import PorterStemmer

            self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        # rouge-score stems words of more than three letters.
        return [self._stem(word) if len(word) > 3 else word for word in _words(text)]


def _words(text: str) -> list[str]:
    """Words in lower case without marks; of scripts without spaces each letter is one."""
    return _WORD.findall(unicodedata.normalize("NFC", text.lower()))


def signature_notes(nodes: Mapping[str, Mapping[str, Any]], references: Sequence[Sequence[str]]) -> list[str]:
    """Signatures of the metrics of sacrebleu, which tell all that their values depend on."""
    notes = []
    numbers = {len(expected) for expected in references}
    for name, node in nodes.items():
        module, _, function = str(node[TARGET]).rpartition(".")
        if module == __name__ and function in SIGNED:
            metric: Any = instantiate(node, group="metric", key=f"metric.{name}")
            scorer = _scorer(function, **metric.keywords)
            scorer.num_refs = next(iter(numbers)) if len(numbers) == 1 else -1
            notes.append(f"{name}: {scorer.get_signature()}")
    return notes


def _corpus_score(name: str, predictions: Any, weights: np.ndarray, **options: Any) -> np.ndarray:
    """The score of sacrebleu under each row of weights, [S]; NaN where all weights are 0."""
    scorer, sums = _corpus_sums(name, predictions, weights, **options)
    scores = np.full(len(weights), np.nan)
    for sample in np.flatnonzero(weights.any(axis=1)):
        scores[sample] = scorer._compute_score_from_stats(sums[sample].tolist()).score
    return scores


def _scorer(name: str, **options: Any) -> Any:
    from sacrebleu import metrics

    if name == "bleu":
        options["tokenize"] = options.pop("tokenizer")
        options["force"] = True  # else a warning at each evaluation of texts that end in " ."
    return getattr(metrics, name.upper())(**options)


def _corpus_sums(name: str, predictions: Any, weights: np.ndarray, **options: Any) -> tuple[Any, np.ndarray]:
    """A metric of sacrebleu, and its statistics summed under each row of weights, [S, K]."""
    scorer = _scorer(name, **options)

    def statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
        # It takes the first references of all texts, then the second ones; None where a text has fewer.
        return scorer._extract_corpus_statistics(texts, list(zip_longest(*references)))

    return scorer, weights @ _per_example(predictions, (name, *options.values()), statistics)


def _mean_score(score: Score, predictions: Any, weights: np.ndarray, key: Hashable) -> np.ndarray:
    values = _per_example(predictions, key, lambda texts, references: [*map(score, texts, references)])
    return weighted_mean(values[:, 0], weights)


def _per_example(predictions: Any, key: Hashable, extract: Callable[..., Any]) -> np.ndarray:
    """Statistics of each example, [N, K] float64, computed once for the same texts."""
    texts, references = predictions.predicted, labels_of(predictions)
    if texts is None:
        raise DataError("no texts were generated; set a strategy, such as generation=greedy")
    if not len(texts):
        return np.zeros((0, 2))  # of counts in a ratio; a mean takes the first

    def statistics() -> np.ndarray:
        for row, expected in zip(predictions.example_ids, references, strict=True):
            if not len(expected):
                raise DataError("there is no expected text", row=int(row))
        first = [text if isinstance(text, str) else text[0] for text in texts]
        return np.array(extract(first, list(references)), dtype=np.float64).reshape(len(first), -1)

    return computed_once(texts, key, references, statistics)
