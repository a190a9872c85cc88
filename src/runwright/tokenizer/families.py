"""Special tokens of model families, in the order of their ids, and the frames of a text and a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import AddedToken

FamilyName = Literal["bert", "roberta", "t5", "gpt2", "llama", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Special tokens by role, the first of the vocabulary in this order, and the frame they make."""

    roles: dict[str, str]  # `pad` is the role of transformers' pad_token
    single: str = "$A"  # $A is the text
    pair: str = "$A $B"  # $B the second one; `:1` is the token type

    @property
    def tokens(self) -> list[str]:
        """Special tokens in the order of their ids."""
        return list(dict.fromkeys(self.roles.values()))

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of a transformers tokenizer."""
        settings: dict[str, Any] = {f"{role}_token": token for role, token in self.roles.items()}
        if settings.get("mask_token") == "<mask>":  # `a <mask>` is `a`, mask: the space belongs to the mask
            settings["mask_token"] = AddedToken("<mask>", lstrip=True, special=True)
        types = ["token_type_ids"] if ":1" in self.pair else []
        return settings | {"model_input_names": ["input_ids", *types, "attention_mask"]}


FAMILIES: dict[str, Family] = {
    "bert": Family(  # BERT, DistilBERT, ELECTRA, DeBERTa, ModernBERT
        roles={"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    ),
    "roberta": Family(  # RoBERTa, BART, CamemBERT
        roles={"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
        | {"cls": "<s>", "sep": "</s>", "mask": "<mask>"},
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
    ),
    "t5": Family(
        roles={"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
        single="$A </s>",
        pair="$A </s> $B </s>",
    ),
    "gpt2": Family(  # one token of its own to pad with: the end of a text is not padding
        roles=dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>") | {"pad": "<|pad|>"},
    ),
    "llama": Family(
        roles={"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"},
        single="<s> $A",
        pair="<s> $A <s> $B",
    ),
    "plain": Family(roles={"pad": "[PAD]", "unk": "[UNK]"}),
}
