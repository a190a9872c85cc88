"""Schemes of tags for spans, such as BIO: letters, ways of writing tags, which scheme fits, and the spans."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Literal, NamedTuple

from runwright.errors import listed

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
    "plain": {"": "I"},
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
    form: str  # how it is written, with places for letter and type


@lru_cache(maxsize=4096)
def read_tag(tag: str, scheme: str) -> Tag | None:
    """Letter, type and form of a tag; None for a word outside. Raises ValueError for none of the scheme."""
    if scheme == "plain":
        return None if tag == OUTSIDE else Tag("I", tag, "{type}")  # neighbours are one span
    if tag.upper() == OUTSIDE:
        return None
    for form, pattern in _FORMS.items():
        match = pattern.fullmatch(tag)
        if match and (letter := LETTERS[scheme].get(match[1].upper())):
            kind = tag[: match.start(1)][:-1] or tag[match.end(1) :][1:] or ONLY_TYPE
            return Tag(letter, kind, form)
    raise ValueError(tag)


def tags_of_type(kind: str, scheme: str, *, form: str) -> list[str]:
    """All tags that a scheme has for a type, in this form."""
    return [form.format(letter=letter, lower=letter.lower(), type=kind) for letter in LETTERS[scheme]]


def tags_over(tag: Tag, length: int, scheme: str) -> list[str]:
    """The tags of `length` words that together mean what this tag means on one word."""
    first, last = "B" if tag.letter in "BS" else "I", "E" if tag.letter in "ES" else "I"
    roles = [tag.letter] if length == 1 else [first, *["I"] * (length - 2), last]
    letters = {meaning: letter for letter, meaning in LETTERS[scheme].items()}
    names = [next((letters[other] for other in _INSTEAD[role] if other in letters), "") for role in roles]
    return [tag.form.format(letter=name, lower=name.lower(), type=tag.type) for name in names]


def misfits(tags: Iterable[str], scheme: str) -> list[str]:
    """The tags that the scheme does not have."""
    wrong = []
    for tag in tags:
        try:
            read_tag(tag, scheme)
        except ValueError:
            wrong.append(tag)
    return wrong


def scheme_problem(tag: str, tags: Collection[str], scheme: str) -> str:
    """Why a tag among these is a misfit, and the schemes that would read them."""
    shapes = ", ".join([OUTSIDE, *tags_of_type("type", scheme, form="{letter}-{type}")])
    *fitting, plain = [other for other in LETTERS if not misfits(tags, other)]
    advice = f"{' or '.join(fitting)} has all of them" if fitting else f"{plain} takes each tag as a type"
    names = "; numbers need their names: task.tag_names=[…]" if tag.isdecimal() else ""
    return f"{tag!r} is no tag of task.scheme={scheme}, which has {shapes}; task.scheme={advice}{names}"


def scheme_note(tags: Iterable[str], scheme: str) -> str | None:
    """A sentence on tags that `plain` takes as types, but that are letters and types of another scheme."""
    names = [tag for tag in tags if tag.upper() != OUTSIDE]
    others = [name for name in LETTERS if name != "plain"] if scheme == "plain" else []
    for other in [name for name in others if not misfits(names, name)]:
        if len({tag.type for tag in map(read_tag, names, repeat(other)) if tag}) < len(names):
            return f"task.scheme=plain takes {listed(names)} as types; {other} makes spans of them"
    return None


class TagSpan(NamedTuple):
    """Words `start` to `end` - 1 are of this type."""

    start: int
    end: int
    type: str


def span_types(names: Sequence[str], scheme: Scheme) -> list[str]:
    """The types of spans that tags of these names can make, sorted."""
    return sorted({tag.type for name in names if (tag := read_tag(name, scheme)) is not None})


def find_spans(tags: Sequence[str], *, scheme: Scheme) -> list[TagSpan]:
    """The spans of one sentence, by the rules of the CoNLL evaluation script, seqeval's default mode.

    Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task". A tag that continues
    nothing begins a span, and a span that is not ended ends where its last tag is.
    """
    spans: list[TagSpan] = []
    is_open = False
    for position, text in enumerate(tags):
        if (tag := read_tag(text, scheme)) is None:
            is_open = False
            continue
        if is_open and tag.letter in "IE" and spans[-1].type == tag.type:
            spans[-1] = spans[-1]._replace(end=position + 1)
        else:
            spans.append(TagSpan(position, position + 1, tag.type))
        is_open = tag.letter not in "ES"
    return spans
