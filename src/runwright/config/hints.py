"""Hints for an unknown key and an unknown option."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from runwright.config.folders import ConfFolders
from runwright.config.options import walk
from runwright.errors import did_you_mean, nearest

SYNONYMS = {  # names of other tools, by the last word of what was typed
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "warmup": "scheduler.warmup_steps",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "num_train_epochs": "trainer.max_epochs",
    "train_batch_size": "trainer.batch_size",
    "per_device_train_batch_size": "trainer.microbatch_size",
    "gradient_accumulation_steps": "trainer.microbatch_size",
    "gradient_clip_val": "trainer.max_grad_norm",
    "fp16": "trainer.precision",
    "bf16": "trainer.precision",
    "eval_steps": "trainer.evaluate_every_steps",
    "patience": "trainer.early_stopping_patience",
    "max_len": "task.max_length",
    "max_seq_length": "task.max_length",
    "model_name": "model.name",
    "model_name_or_path": "model.name",
    "tokenizer_name": "tokenizer.name",
}
FORMATS = {"csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "txt": "text", "parquet": "parquet"}
SPLITS = {  # names that others have for the splits
    **dict.fromkeys(("training", "trn"), "train"),
    **dict.fromkeys(("valid", "val", "dev", "development", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("testing", "tst"), "test"),
}
SPLIT_OF_FILE = {  # by the last word of a key that is given a file
    **dict.fromkeys(("file", "files", "path", "data_files", "train_file", "train"), "train"),
    **dict.fromkeys(("validation_file", "validation", "valid", "dev"), "validation"),
    **dict.fromkeys(("test_file", "test"), "test"),
}
STRATEGY_OF_OPTION = {  # of generation
    **dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "seed", "num_return_sequences"), "sample"),
    **dict.fromkeys(("num_beams", "length_penalty", "early_stopping"), "beam"),
    **dict.fromkeys(("prompt_lookup_num_tokens", "max_matching_ngram_size"), "prompt_lookup"),
}
FILES = "dataset.source.files"


def hint_for_option(option: str, options: Sequence[str], group: str, folders: ConfFolders) -> str:
    """The option or override to write instead of an option that a group lacks."""
    for folder in folders.in_order:
        if (folder / group / f"{option}.yml").is_file():
            return f"Hydra reads .yaml only: rename {group}/{option}.yml"
    if group == "dataset" and (choice := _choice_of_file(option, "train")):
        return f"a file is {choice}"
    near = did_you_mean(option.removeprefix("conf/").removeprefix(f"{group}/"), options)
    if group in ("model", "tokenizer"):
        near += f" by its name on the hub, or a folder: {group}.name={option}"
    elif not near or not folders.project:
        near += f" looked in {folders.searched()}"
    return near.strip()


def hint_for_key(
    key: str, value: str, config: DictConfig, *, where: str = "", siblings: Sequence[str] = ()
) -> str:
    """The nearest key to one that is not there; `where`, with `siblings` below it, is."""
    keys, last = flat_keys(config), key.split(".")[-1]
    if (usual := f"{where}.{SPLITS.get(last)}") in keys:
        return f"did you mean {usual!r}?"
    if key.startswith("generation.") and last in STRATEGY_OF_OPTION:
        return f"it is an option of generation={STRATEGY_OF_OPTION[last]}"
    if (split := SPLIT_OF_FILE.get(last)) and (choice := _choice_of_file(value, split)):
        return f"did you mean {f'{FILES}.{split}' if FILES in keys else choice!r}?"
    match = same_key(key, keys)
    rest = key[len(where) + 1 if where else 0 :]
    if match is None and "." not in rest and (near := nearest(rest, siblings)):
        match = f"{where}.{near}" if where else near
    if match is None:  # the nearest of those that end in the same word, else of all
        same_name = [other for other in keys if other.split(".")[-1] == last]
        same_name.sort(key=lambda other: not other.startswith("dataset.holdout"))
        match = (same_name or [""])[0] if last in SPLIT_OF_FILE else nearest(key, same_name)
        match = match or (same_name[0] if len(same_name) == 1 else nearest(key, keys))
    return f"did you mean {match!r}?" if match else ""


def same_key(name: str, keys: Sequence[str]) -> str | None:
    """The key that others call so, or the shortest one whose dotted path ends so."""
    if (synonym := SYNONYMS.get(name.split(".")[-1])) in keys:
        return synonym
    ending = [key for key in keys if f".{key}".endswith(f".{name}")]
    return min(ending, key=lambda key: key.count("."), default=None)


def flat_keys(config: DictConfig) -> list[str]:
    """Dotted names of all keys, those of mappings before the keys inside them."""
    return [key for key, _ in walk(OmegaConf.to_container(config, resolve=False)) if key]


def _choice_of_file(value: str, split: str) -> str:
    """The overrides that read a file of this name as a split; empty where it is the name of none."""
    _, dot, ending = value.strip("'\"[]").rpartition(".")
    if not dot or ending.lower() not in FORMATS:
        return ""
    tabs = " dataset.source.delimiter=tab" if ending.lower() == "tsv" else ""
    return f"dataset={FORMATS[ending.lower()]}{tabs} {FILES}.{split}={value}"
