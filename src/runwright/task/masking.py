"""Which tokens are hidden and how, as a function of a seed and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from runwright.task.text import IGNORED

LONGEST_WORD = 16  # pieces; longer ones are texts without spaces, as in Chinese


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """How tokens are hidden: Devlin et al. 2019, "BERT", 3.1; whole words: the authors' later release."""

    probability: float  # share of the tokens that are chosen
    mask_share: float  # of the chosen ones: replaced by the mask
    random_share: float  # of the chosen ones: replaced by a random token; the rest stay as they are
    whole_words: bool
    mask_token_id: int
    random_ids: np.ndarray  # [R] int64, what a random token may be

    def apply(
        self, input_ids: Sequence[int], words: Sequence[int], *, chance: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Input ids with some hidden, and labels: the hidden tokens, -100 elsewhere.

        `words` numbers the word of each token, -1 where a token may not be hidden. At least one is chosen
        where there is one; the number follows from the length, not from chance.
        """
        ids, marks = np.array(input_ids), np.asarray(words)
        chosen = self._choose(marks, chance)
        labels = np.full(len(ids), IGNORED)
        labels[chosen] = ids[chosen]
        draw = chance.random(len(chosen))
        hidden = chosen[draw < self.mask_share]
        swapped = chosen[(draw >= self.mask_share) & (draw < self.mask_share + self.random_share)]
        ids[hidden] = self.mask_token_id
        ids[swapped] = chance.choice(self.random_ids, size=len(swapped))
        return ids.tolist(), labels.tolist()

    def _choose(self, words: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Positions to hide, sorted."""
        free = np.flatnonzero(words >= 0)
        wanted = max(1, round(self.probability * len(free)))
        if not self.whole_words:
            return np.sort(chance.permutation(free)[:wanted])
        words = _long_words_cut(words, wanted)
        found: list[int] = []
        for word in chance.permutation(np.unique(words[free])):
            pieces = np.flatnonzero(words == word)
            if len(found) + len(pieces) <= wanted or not found:
                found.extend(pieces.tolist())
            if len(found) >= wanted:
                break
        return np.sort(np.array(found, dtype=np.int64))


def _long_words_cut(words: np.ndarray, wanted: int) -> np.ndarray:
    """Word numbers where each piece of a word that cannot be hidden whole is a word.

    Such a word has more pieces than are wanted, and is all there is or longer than words are.
    """
    _, numbers, counts = np.unique(words, return_inverse=True, return_counts=True)
    sizes, num_free = counts[numbers], np.count_nonzero(words >= 0)
    is_long = (sizes > wanted) & ((sizes > LONGEST_WORD) | (sizes == num_free))
    return np.where((words >= 0) & is_long, words.max(initial=-1) + 1 + np.arange(len(words)), words)


def generator(*parts: int | str) -> np.random.Generator:
    """Random numbers that depend on the parts alone."""
    digest = blake2b("/".join(map(str, ("mask", *parts))).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
