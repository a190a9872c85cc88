"""The special tokens of model families, in the order of their ids, and how they frame a text or a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FamilyName = Literal["bert", "roberta", "t5", "gpt2", "llama", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Special tokens by the names that transformers has for them; the first ids are theirs, in this order."""

    tokens: tuple[str, ...]
    roles: dict[str, str]
    single: str  # $A is the text
    pair: str  # $B the second one; `:1` is the token type
    has_token_types: bool = False

    @property
    def unk_token(self) -> str:
        """What stands for what is not in the vocabulary."""
        return self.roles["unk_token"]


FAMILIES: dict[str, Family] = {
    "bert": Family(  # BERT, DistilBERT, ELECTRA, DeBERTa, ModernBERT
        tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        roles={
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        has_token_types=True,
    ),
    "roberta": Family(  # RoBERTa, BART, CamemBERT
        tokens=("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
        roles={
            "bos_token": "<s>",
            "pad_token": "<pad>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "mask_token": "<mask>",
        },
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
    ),
    "t5": Family(
        tokens=("<pad>", "</s>", "<unk>"),
        roles={"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
        single="$A </s>",
        pair="$A </s> $B </s>",
    ),
    "gpt2": Family(  # one token of its own to pad with: the end of a text is not padding
        tokens=("<|endoftext|>", "<|pad|>"),
        roles={
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|pad|>",
        },
        single="$A",
        pair="$A $B",
    ),
    "llama": Family(
        tokens=("<unk>", "<s>", "</s>", "<pad>"),
        roles={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
        single="<s> $A",
        pair="<s> $A <s> $B",
    ),
    "plain": Family(
        tokens=("[PAD]", "[UNK]"),
        roles={"pad_token": "[PAD]", "unk_token": "[UNK]"},
        single="$A",
        pair="$A $B",
    ),
}


def framing(
    templates: dict[str, str], tokens: list[str], ids: dict[str, int]
) -> tuple[str | None, str | None, list[tuple[str, int]]]:
    """The arguments of a template post-processor: single, pair, and the tokens in them with their ids."""
    words = " ".join(templates.values()).split()
    used = [token for token in tokens if any(word in (token, f"{token}:0", f"{token}:1") for word in words)]
    return templates.get("single"), templates.get("pair"), [(token, ids[token]) for token in used]


def roles_of(name: str) -> dict[str, Any]:
    """Keyword arguments of a transformers tokenizer of this family."""
    from tokenizers import AddedToken

    family = FAMILIES[name]
    roles: dict[str, Any] = dict(family.roles)
    if name == "roberta":  # `a <mask>` is `a`, mask: the space belongs to the mask, as in the original
        roles["mask_token"] = AddedToken("<mask>", lstrip=True, special=True)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    roles["model_input_names"] = names if family.has_token_types else [names[0], names[2]]
    return roles
