"""Rules about tokenizers that are more than a line of the table."""

from __future__ import annotations

from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.makers import Mistakes, as_dict, as_list, is_number, signature_of
from runwright.errors import Mistake, shown

TRAINED = "runwright.tokenizer.trained."
NUM_BYTES = 256
WHOLE = ("byte_level", "metaspace")  # steps that change the text, and the decoders that change it back


def pretrained_model_has_its_own(tokenizer: Any, model: Any, embeddings: Any) -> Mistakes:
    is_trained = str(tokenizer).startswith(TRAINED)
    if is_trained and model == "runwright.model.pretrained.load" and embeddings != "by_token":
        yield Mistake(
            key="tokenizer",
            given="one that is trained, with a pretrained model",
            expected="the tokenizer that the model was trained with: tokenizer=pretrained",
            hint="for any other: model.embeddings=by_token, or model=scratch, which learns from nothing",
        )


def algorithm_can_be_trained(target: Any) -> Mistakes:
    signature = signature_of({TARGET: target})
    if signature is not None and "train" not in signature.returns:
        expected = (
            "what learns a vocabulary: Bpe, WordPiece, Unigram or Words of runwright.tokenizer.algorithms"
        )
        yield Mistake(key="tokenizer.model._target_", given=shown(target), expected=expected)


def decoder_undoes_the_steps(steps: Any, decoder: Any) -> Mistakes:
    for name in [name for name in WHOLE if (name in as_list(steps)) != (decoder == name)][:1]:
        out = "" if name in as_list(steps) else "out"
        given = f"{shown(decoder)} with{out} {name} in tokenizer.pre_tokenizer"
        expected = f"{name} in both or in neither: one undoes the other"
        yield Mistake(key="tokenizer.decoder", given=given, expected=expected)


def bytes_come_last(steps: Any) -> Mistakes:
    if "byte_level" in as_list(steps)[:-1] and steps[-1] != "byte_level":
        expected = "byte_level as the last step: after it there are no letters to cut at"
        yield Mistake(key="tokenizer.pre_tokenizer", given=shown(steps), expected=expected)


def vocabulary_holds_bytes(steps: Any, size: Any) -> Mistakes:
    if "byte_level" in as_list(steps) and is_number(size) and size <= NUM_BYTES:
        expected = f"more than {NUM_BYTES}: every byte is a token"
        yield Mistake(key="tokenizer.model.vocab_size", given=shown(size), expected=expected)


def templates_hold_the_texts(templates: Any) -> Mistakes:
    texts = {"single": ("$A",), "pair": ("$A", "$B")}
    for name, template in as_dict(templates).items():
        key = f"tokenizer.post_processor.{name}"
        if name not in texts:
            yield Mistake(key=key, given="an unknown key", expected="single or pair")
        elif template is not None and not all(text in str(template) for text in texts[name]):
            yield Mistake(key=key, given=shown(template), expected=f"a place for {' and '.join(texts[name])}")
