"""What the keys of a tokenizer say together, and with the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.table import reads, signature_of
from runwright.errors import Mistake, shown

OWN = "runwright.tokenizer.trained."
NUM_BYTES = 256
WHOLE = ("byte_level", "metaspace")  # steps that change the text, and the decoders that change it back


@reads("tokenizer._target_", "model._target_", "model.embeddings")
def _a_pretrained_model_has_its_own_tokenizer(
    tokenizer: Any, model: Any, embeddings: Any
) -> Iterator[Mistake]:
    trained = str(tokenizer).startswith(OWN)
    if trained and model == "runwright.model.pretrained.load" and embeddings != "by_token":
        yield Mistake(
            key="tokenizer",
            given="one that is trained, with a pretrained model",
            expected="the tokenizer that the model was trained with: tokenizer=pretrained",
            hint="for any other: model.embeddings=by_token, or model=scratch, which learns from nothing",
        )


@reads("tokenizer.model")
def _the_algorithm_is_a_node(model: Any) -> Iterator[Mistake]:
    if not isinstance(model, dict) or TARGET not in model:
        yield Mistake(
            key="tokenizer.model",
            given=shown(model),
            expected="a node with a _target_",
            hint="choose tokenizer=train/bpe, wordpiece, unigram, …",
        )
    elif "train" not in getattr(signature_of(model), "returns", {"train": ""}):
        yield Mistake(
            key="tokenizer.model._target_",
            given=shown(model[TARGET]),
            expected="what learns a vocabulary: Bpe, WordPiece, Unigram or Words of "
            "runwright.tokenizer.algorithms",
        )


@reads("tokenizer.pre_tokenizer", "tokenizer.decoder")
def _what_is_changed_is_changed_back(steps: Any, decoder: Any) -> Iterator[Mistake]:
    for name in WHOLE:
        if (name in steps) != (decoder == name):
            given = f"{shown(decoder)} with{'' if name in steps else 'out'} {name} in tokenizer.pre_tokenizer"
            expected = f"{name} in both or in neither: one undoes the other"
            yield Mistake(key="tokenizer.decoder", given=given, expected=expected)
            return


@reads("tokenizer.pre_tokenizer")
def _bytes_come_last(steps: Any) -> Iterator[Mistake]:
    if "byte_level" in steps and steps[-1] != "byte_level":
        yield Mistake(
            key="tokenizer.pre_tokenizer",
            given=shown(steps),
            expected="byte_level as the last step: after it there are no letters to cut at",
        )


@reads("tokenizer.pre_tokenizer", "tokenizer.model.vocab_size")
def _all_bytes_fit(steps: Any, size: Any) -> Iterator[Mistake]:
    if "byte_level" in steps and size <= NUM_BYTES:
        yield Mistake(
            key="tokenizer.model.vocab_size",
            given=shown(size),
            expected=f"more than {NUM_BYTES}: every byte is a token",
        )


@reads("tokenizer.post_processor")
def _frames_are_known(frames: Any) -> Iterator[Mistake]:
    for name, letters in (("single", "$A"), ("pair", "$A and $B")):
        template = (frames or {}).get(name)
        if template is not None and not all(f"${letter}" in template for letter in letters if letter in "AB"):
            yield Mistake(
                key=f"tokenizer.post_processor.{name}",
                given=shown(template),
                expected=f"a place for {letters}",
            )
    for name in frames or {}:
        if name not in ("single", "pair"):
            yield Mistake(
                key=f"tokenizer.post_processor.{name}", given="an unknown key", expected="single or pair"
            )


@reads("tokenizer.extra_tokens")
def _extra_tokens_are_new(tokens: Any) -> Iterator[Mistake]:
    if repeated := sorted({token for token in tokens if tokens.count(token) > 1 or not token.strip()}):
        yield Mistake(
            key="tokenizer.extra_tokens",
            given=shown(repeated[0]),
            expected="each token once, and none that is empty",
        )
