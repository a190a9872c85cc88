"""Tags of words as spans, by the rules of the CoNLL evaluation script.

Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task". Agrees with seqeval, in its
default mode where illegal tags are repaired and in its strict mode where they are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runwright.config.tag_schemes import OUTSIDE, Scheme, type_of


class TagSpan(NamedTuple):
    """Words `start` to `end` - 1 are of this type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TagSet:
    """The tags of a task, and how they make spans."""

    names: tuple[str, ...]  # in the order of their ids
    scheme: Scheme
    repair: bool  # see `find_spans`

    @property
    def types(self) -> list[str]:
        """The types of spans that these tags can make, sorted."""
        return span_types(self.names, self.scheme)

    def spans(self, tags: Sequence[int]) -> list[tuple[int, int, int]]:
        """The spans of a sentence: first word, one past the last, index of the type."""
        numbers = {kind: index for index, kind in enumerate(self.types)}
        spans = find_spans([self.names[tag] for tag in tags], scheme=self.scheme, repair=self.repair)
        return [(span.start, span.end, numbers[span.type]) for span in spans]


def span_types(names: Sequence[str], scheme: Scheme) -> list[str]:
    """The types of spans that tags of these names can make, sorted."""
    return sorted({kind for name in names if (kind := type_of(name, scheme)) is not None})


def find_spans(tags: Sequence[str], *, scheme: Scheme, repair: bool) -> list[TagSpan]:
    """The spans of one sentence.

    `repair`: a tag that continues nothing begins a span, and a span that is not ended ends where it ends;
    otherwise such a span is none.
    """
    if scheme == "plain":
        return _runs(tags)
    return _repaired(tags) if repair else _legal(tags, scheme)


def _runs(tags: Sequence[str]) -> list[TagSpan]:
    spans: list[TagSpan] = []
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        if spans and spans[-1].end == place and spans[-1].type == tag:
            spans[-1] = spans[-1]._replace(end=place + 1)
        else:
            spans.append(TagSpan(place, place + 1, tag))
    return spans


def _repaired(tags: Sequence[str]) -> list[TagSpan]:
    spans: list[TagSpan] = []
    is_open = False
    for place, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if tag == OUTSIDE:
            is_open = False
            continue
        continues = is_open and prefix in "IE" and spans[-1].type == kind
        if continues:
            spans[-1] = spans[-1]._replace(end=place + 1)
        else:
            spans.append(TagSpan(place, place + 1, kind))
        is_open = prefix not in "ES"
    return spans


def _legal(tags: Sequence[str], scheme: Scheme) -> list[TagSpan]:
    spans: list[TagSpan] = []
    start = None  # of the span that is open
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, kind = tag.partition("-")
        continues = start is not None and prefix in ("I", "E") and kind == tags[start].partition("-")[2]
        if start is not None and not continues:
            if scheme == "bio":  # only BIOES says where a span ends
                spans.append(TagSpan(start, place, tags[start].partition("-")[2]))
            start = None
        if prefix == "B":
            start = place
        elif prefix == "S":
            spans.append(TagSpan(place, place + 1, kind))
        elif prefix == "E" and continues and start is not None:
            spans.append(TagSpan(start, place + 1, kind))
            start = None
    return spans
