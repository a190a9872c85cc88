"""Schemes of tags for spans, such as BIO: letters, ways of writing tags, and which scheme fits some tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

OUTSIDE = "O"
Scheme = Literal["bio", "bioes", "bilou", "bmes", "bmewo", "ioe", "plain"]
# The letters of each scheme, and which of BIOES says the same.
LETTERS: dict[str, dict[str, str]] = {
    "bio": {"B": "B", "I": "I"},
    "bioes": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "bilou": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "bmes": {"B": "B", "M": "I", "E": "E", "S": "S"},
    "bmewo": {"B": "B", "M": "I", "E": "E", "W": "S"},
    "ioe": {"I": "I", "E": "E"},
    "plain": {},
}
_INSTEAD = {"B": "BI", "I": "I", "E": "EI", "S": "SBE"}  # letters of BIOES for one that a scheme lacks
ONLY_TYPE = "span"  # the type of tags that name none: B, I, O
# How a tag may be written; the first that fits counts.
_FORMS = {
    shape.format(letter=name, type="{type}"): re.compile(shape.format(letter=f"([{of}])", type=".+"))
    for shape in ("{letter}-{type}", "{letter}_{type}", "{type}-{letter}", "{type}_{letter}", "{letter}")
    for name, of in (("{letter}", "A-Z"), ("{lower}", "a-z"))
}


class Tag(NamedTuple):
    """A tag that is not outside."""

    letter: str  # B, I, E or S, whatever the letters of the scheme
    type: str
    form: str  # how it is written, see `written`


@lru_cache(maxsize=4096)
def read_tag(tag: str, scheme: Scheme) -> Tag | None:
    """What a tag says; None for a word outside. Raises ValueError for none of the scheme."""
    if scheme == "plain":
        return None if tag == OUTSIDE else Tag("I", tag, "{type}")  # neighbours are one span
    if tag.upper() == OUTSIDE:
        return None
    for form, pattern in _FORMS.items():
        match = pattern.fullmatch(tag)
        letter = match[1].upper() if match else ""
        if match and letter in LETTERS[scheme]:
            kind = tag[: match.start(1)][:-1] or tag[match.end(1) :][1:] or ONLY_TYPE
            return Tag(LETTERS[scheme][letter], kind, form)
    raise ValueError(tag)


def tags_of_type(kind: str, scheme: Scheme, *, form: str) -> list[str]:
    """All tags that a scheme has for a type, in this form."""
    if scheme == "plain":
        return [kind]
    return [form.format(letter=letter, lower=letter.lower(), type=kind) for letter in LETTERS[scheme]]


def tags_over(tag: Tag, length: int, scheme: Scheme) -> list[str]:
    """The tags of so many words that together are what one word with this tag is."""
    first, last = "B" if tag.letter in "BS" else "I", "E" if tag.letter in "ES" else "I"
    roles = [tag.letter] if length == 1 else [first, *["I"] * (length - 2), last]
    letters = {meaning: letter for letter, meaning in LETTERS[scheme].items()}
    names = [next((letters[each] for each in _INSTEAD[role] if each in letters), "") for role in roles]
    return [tag.form.format(letter=name, lower=name.lower(), type=tag.type) for name in names]


def misfits(tags: Iterable[str], scheme: Scheme) -> list[str]:
    """The tags that the scheme does not have, or that are written otherwise than most of the others."""
    forms: dict[str, str | None] = {}
    for tag in tags:
        try:
            forms[tag] = found.form if (found := read_tag(tag, scheme)) else None
        except ValueError:
            forms[tag] = ""
    usual = Counter(form for form in forms.values() if form).most_common(1)
    return [tag for tag, form in forms.items() if form is not None and [form] != [each for each, _ in usual]]


def scheme_problem(tag: str, tags: Iterable[str], scheme: Scheme) -> str:
    """Why a tag is a misfit among these, and the scheme that would read them."""
    tags = list(tags)
    left = {other: misfits(tags, other) for other in LETTERS if other != "plain"}
    fitting = [other for other, wrong in left.items() if not wrong]
    nearest = min(left, key=lambda other: len(left[other]))
    if fitting:
        advice = f"task.scheme={' or '.join(fitting)} has all of these tags"
    elif len(left[nearest]) < len([each for each in tags if each.upper() != OUTSIDE]):
        advice = f"task.scheme={nearest} has all but {', '.join(map(repr, left[nearest][:4]))}"
    else:
        advice = "task.scheme=plain takes each tag as a type, as for parts of speech"
    try:
        read_tag(tag, scheme)
    except ValueError:
        shapes = ", ".join([OUTSIDE, *tags_of_type("type", scheme, form="{letter}-{type}")])
        return f"{tag!r} is no tag of task.scheme={scheme}, which has {shapes}; {advice}"
    return f"{tag!r} is written in another way than the other tags; {advice}"


def scheme_note(tags: Iterable[str], scheme: Scheme) -> str | None:
    """A sentence on tags that `plain` takes as types, but that are letters and types of another scheme."""
    tags = list(tags)
    if scheme == "plain":
        for other in LETTERS:
            if other != "plain" and not misfits(tags, other):
                found = [each for tag in tags if (each := read_tag(tag, other)) is not None]
                if len(found) > len({each.type for each in found}) > 0:
                    return (
                        f"task.scheme=plain counts {', '.join(map(repr, tags[:4]))} as types of their own; "
                        f"task.scheme={other} reads them as spans, which gives another span_f1"
                    )
    return None
