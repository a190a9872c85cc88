from __future__ import annotations

from pathlib import Path

import pytest

from runwright.analysis.doctor.packages import (
    check_packages,
    check_pins,
    check_python,
    check_ranges,
    read_pins,
)


def test_this_installation_has_what_is_needed() -> None:
    findings = {finding.what: finding for finding in check_packages()}
    assert findings["python"].level == "ok"
    assert findings["packages"].level == "ok"


@pytest.mark.parametrize(("version", "level"), [("3.10.9", "problem"), ("3.11.0", "ok"), ("3.14.0rc1", "ok")])
def test_python_is_held_against_what_is_asked_for(version: str, level: str) -> None:
    assert check_python(version, ">=3.11").level == level


def test_what_is_missing_and_what_is_too_old_is_named() -> None:
    needed = ["Torch>=2.13", "hydra_core>=1.3.8,<1.4", "numpy>=2.0", "peft>=0.21; extra == 'lora'"]
    finding = check_ranges({"torch": "2.12.0", "numpy": "2.1"}, needed)
    assert finding.level == "problem"
    assert finding.text == "Torch 2.12.0, expected >=2.13, hydra_core is missing"
    assert check_ranges({"torch": "2.13.0+cpu", "hydra-core": "1.3.8", "numpy": "2.1"}, needed).level == "ok"


def test_other_versions_than_the_tested_ones_are_a_warning(repository: Path) -> None:
    pins = read_pins("torch==2.13.0  # a comment\n# nothing\nMLflow==3.17.2\npeft==0.21\n")
    assert pins == {"torch": "2.13.0", "mlflow": "3.17.2", "peft": "0.21"}
    assert check_pins({"torch": "2.13.0+cu128", "mlflow": "3.17.2"}, pins).level == "ok"
    finding = check_pins({"torch": "2.14.0", "mlflow": "3.17.2"}, pins)
    assert (finding.level, finding.text) == ("warning", "torch 2.14.0 (tested: 2.13.0)")
    assert "pip install torch==2.13.0 first" in finding.advice
    assert read_pins((repository / "constraints.txt").read_text())["torch"] == "2.13.0"
