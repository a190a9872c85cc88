"""Schemes of tags for spans, such as BIO: their prefixes and which scheme a set of tags follows."""

from __future__ import annotations

from typing import Literal

OUTSIDE = "O"
Scheme = Literal["bio", "bioes", "plain"]
PREFIXES = {"bio": ("B", "I"), "bioes": ("B", "I", "E", "S"), "plain": ()}


def is_tag(tag: str, scheme: Scheme) -> bool:
    """Return True for a tag of the scheme."""
    prefix, dash, kind = tag.partition("-")
    return scheme == "plain" or tag == OUTSIDE or bool(prefix in PREFIXES[scheme] and dash and kind)


def tag_shapes(scheme: Scheme) -> str:
    """The shapes of a scheme's tags, for messages."""
    return ", ".join([OUTSIDE, *(f"{prefix}-type" for prefix in PREFIXES[scheme])])


def other_schemes(scheme: Scheme) -> str:
    """Schemes that have more tags than this one, for messages."""
    return f"task.scheme={'bioes or ' if scheme == 'bio' else ''}plain"


def type_of(tag: str, scheme: Scheme) -> str | None:
    """`loc` of `B-loc`; None for a word outside."""
    if tag == OUTSIDE:
        return None
    return tag if scheme == "plain" else tag.partition("-")[2]
