"""Small model folders: what they claim to be, they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TEXT = "Anna lives in Paris, a lovely city."


def test_every_stand_in_is_read_whole_and_by_its_tokenizer(
    folders: ModuleType, model_folder: Callable[[str], Path]
) -> None:
    import transformers

    from runwright.tokenizer.pretrained import open_saved

    for name, (class_name, _, _) in folders.RECIPES.items():
        folder = model_folder(name)
        tokenizer: Any = open_saved(str(folder))
        assert TEXT.lower() in tokenizer.decode(tokenizer(TEXT)["input_ids"]).lower(), name
        _, report = getattr(transformers, class_name).from_pretrained(folder, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), name


def test_faulty_folders(folders: ModuleType, tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open

    bin_only = folders.keep_only_bin(folders.write("pos", tmp_path / "bin"))
    assert not list(bin_only.glob("*.safetensors"))
    assert "classifier.weight" in torch.load(bin_only / "pytorch_model.bin", weights_only=True)
    large = folders.write_sparse(tmp_path / "large", num_bytes=12 * 10**9)
    files = sorted(large.glob("*.safetensors"))
    assert sum(file.stat().st_size for file in files) >= 11.9e9
    assert sum(file.stat().st_blocks for file in files) * 512 < 2**20
    with safe_open(files[0], "pt") as opened:
        assert opened.get_slice("transformer.h.0.weight").get_shape() == [2441406, 1024]
    with pytest.raises(FileNotFoundError):
        (folders.remove_config(bin_only) / "config.json").read_text()
