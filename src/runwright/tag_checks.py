"""What the keys of tags say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.combining import reads
from runwright.mistakes import Mistake, listed
from runwright.task.spans import PREFIXES, is_tag, other_schemes, tag_shapes


@reads("task.tag_names", "task.scheme")
def _tag_names_are_of_the_scheme(names: Any, scheme: Any) -> Iterator[Mistake]:
    wrong = [name for name in names or [] if scheme in PREFIXES and not is_tag(name, scheme)]
    if wrong:
        yield Mistake(
            key="task.tag_names",
            given=listed(wrong),
            expected=f"tags of task.scheme={scheme}: {tag_shapes(scheme)}",
            hint=f"others are read with {other_schemes(scheme)}",
        )


@reads("task.tag_names")
def _tag_names_are_unique(names: Any) -> Iterator[Mistake]:
    repeated = sorted({name for name in names or [] if names.count(name) > 1})
    if repeated:
        yield Mistake(key="task.tag_names", given=f"{listed(repeated)} twice", expected="each tag once")
