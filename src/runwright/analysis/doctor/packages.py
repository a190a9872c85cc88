"""Python and packages against what Runwright asks for, and against what it was tested with."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from runwright.analysis.doctor.findings import Finding
from runwright.errors import listed
from runwright.tracker.provenance import installed_packages

PACKAGE = "runwright"
CONSTRAINTS_FILE = "constraints.txt"
TORCH_ADVICE = "pip install torch==VERSION first: a plain `torch` may be newer and bring other CUDA packages"


def check_packages() -> Iterator[Finding]:
    """One finding for Python, one for what is asked for, one for what was tested."""
    yield check_python(platform.python_version(), metadata.metadata(PACKAGE)["Requires-Python"])
    installed = {_plain(name): version for name, version in installed_packages().items()}
    yield check_ranges(installed, metadata.requires(PACKAGE) or [])
    file = Path(__file__).resolve().parents[4] / CONSTRAINTS_FILE
    if not file.is_file():  # installed from a wheel
        yield Finding(
            level="ok", what="tested versions", text="not known here: no constraints.txt beside the code"
        )
        return
    yield check_pins(installed, read_pins(file.read_text(encoding="utf-8")))


def check_python(version: str, wanted: str | None) -> Finding:
    """Whether this Python is one of those that are asked for."""
    from packaging.specifiers import SpecifierSet

    if wanted and not SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding(
            level="problem", what="python", text=f"{version}, expected {wanted}", advice="use another Python"
        )
    return Finding(level="ok", what="python", text=f"{version} (asked for: {wanted or 'any'})")


def check_ranges(installed: Mapping[str, str], requirements: list[str]) -> Finding:
    """Whether what Runwright needs is there, in versions that may work."""
    from packaging.requirements import Requirement

    wrong = []
    needed = [Requirement(text) for text in requirements]
    needed = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    for each in needed:
        version = installed.get(_plain(each.name))
        if version is None:
            wrong.append(f"{each.name} is missing")
        elif not each.specifier.contains(version, prereleases=True):
            wrong.append(f"{each.name} {version}, expected {each.specifier}")
    if wrong:
        return Finding(
            level="problem",
            what="packages",
            text=listed(wrong),
            advice=f"pip install -c {CONSTRAINTS_FILE} {PACKAGE}, or `make setup` in a checkout",
        )
    return Finding(level="ok", what="packages", text=f"all {len(needed)} that are needed are there")


def check_pins(installed: Mapping[str, str], pins: Mapping[str, str]) -> Finding:
    """Whether the versions are those that were tested; others may work, and give other last digits."""
    different = [
        f"{name} {installed[name]} (tested: {pin})"
        for name, pin in pins.items()
        if name in installed and installed[name].partition("+")[0] != pin.partition("+")[0]
    ]
    if not different:
        num_pinned = sum(name in installed for name in pins)
        return Finding(
            level="ok", what="tested versions", text=f"all {num_pinned} packages are the tested ones"
        )
    torch = (
        f"; {TORCH_ADVICE.replace('VERSION', pins['torch'])}"
        if any(d.startswith("torch ") for d in different)
        else ""
    )
    return Finding(
        level="warning",
        what="tested versions",
        text=listed(different),
        advice=f"pip install -c {CONSTRAINTS_FILE} …, or `make setup` in a checkout{torch}",
    )


def read_pins(text: str) -> dict[str, str]:
    """`name==version` lines of a constraints file."""
    found = (line.partition("#")[0].strip().partition("==") for line in text.splitlines())
    return {_plain(name): version for name, equals, version in found if equals}


def _plain(name: str) -> str:
    """Names of packages are the same however their dashes and capitals are written."""
    return re.sub(r"[-_.]+", "-", name).lower()
