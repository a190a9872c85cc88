"""What pruning costs and saves: the same 24 trials of experiment=vader on 2,000 rows, with and without it.

    python scripts/sweep_pruning.py FOLDER [--seeds 0 1] [--trials 24] [--only qmc-none]

Trials are quasi-random over learning rate, warm-up, batch size, weight decay and dropout, one at a time; TPE
with the pruner stands beside them. With --spread the best trial of each unpruned search is trained with
further seeds, for the standard deviation of one seed. Called again, it goes on with what is in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

AXES = [
    "optimizer.lr=tag(log,interval(5e-6,5e-4))",
    "scheduler.warmup_ratio=interval(0,0.2)",
    "trainer.batch_size=16,32,64",
    "optimizer.weight_decay=0,0.01,0.1",
    "model.dropout=interval(0,0.2)",
]
FIXED = [
    *("experiment=vader", "dataset.subset.train=2000", "dataset.subset.validation=300", "tracker=console"),
    *("trainer.evaluate_every_epochs=0.125", "trainer.save_every_epochs=null", "trainer.num_threads=1"),
    *("trainer.device=cpu", "log.progress=off"),
]
SEARCHES = {"qmc-none": ("qmc", "none"), "qmc-pruned": ("qmc", "shipped"), "tpe-pruned": ("tpe", "shipped")}


def run_search(folder: Path, name: str, seed: int, trials: int) -> dict[str, Any]:
    """Trials of one search, trained where they are not yet: best score, steps and states."""
    sampler, pruner = SEARCHES[name]
    study = f"{name}-{seed}"
    options = {"study_name": study, "n_trials": trials, "sampler": sampler, "seed": seed}
    overrides = [f"hydra.sweeper.{key}={value}" for key, value in options.items()]
    overrides += ["+hydra.sweeper.sampler_options.scramble=true"] if sampler == "qmc" else []
    overrides += ["hydra.sweeper.pruner=none", "hydra.sweeper.pruner_options={}"] if pruner == "none" else []
    command = [sys.executable, "-m", "runwright", "train", "-m", "sweep=lr_search", *FIXED, *AXES, *overrides]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    runs = [read_run(file.parent) for file in folder.glob(f"outputs/sweeps/{study}/*/outcome.json")]
    scores = {run["score"]: run for run in runs if run["score"] is not None}
    return {"runs": runs, "steps": sum(run["steps"] for run in runs), "best": scores[max(scores)]}


def read_run(job: Path) -> dict[str, Any]:
    """Overrides, steps and score of a trial; None for one that was pruned."""
    outcome = json.loads((job / "outcome.json").read_text())
    run = Path(outcome["folder"])
    end = json.loads((run / "run.json").read_text())["end"]
    summary = run / "summary.json"
    metrics = json.loads(summary.read_text())["metrics"] if summary.is_file() else {}
    score = metrics.get("validation/pearson")
    return {"overrides": outcome["overrides"], "steps": end["step"], "of": end["steps"], "score": score}


def seed_spread(folder: Path, best: dict[str, Any]) -> float:
    """Standard deviation over seeds of initialization and order of the best trial, on the same rows."""
    name = "seeds"
    command = [sys.executable, "-m", "runwright", "train", "-m", *best["overrides"], f"name={name}"]
    command += ["seeds.data=0", "seed=1,2,3,4"]
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    files = folder.glob(f"outputs/{name}/*/summary.json")
    scores = [json.loads(file.read_text())["metrics"]["validation/pearson"] for file in files]
    return statistics.stdev([best["score"], *scores[-4:]])


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--only", choices=SEARCHES)
    parser.add_argument("--spread", action="store_true", help="train the best trial with further seeds too")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        whole: dict[str, Any] = {}
        for name in [args.only] if args.only else SEARCHES:
            search = run_search(args.folder, name, seed, args.trials)
            whole = whole or search
            share = search["steps"] / sum(run["of"] for run in search["runs"])
            full, best = sum(run["score"] is not None for run in search["runs"]), search["best"]["score"]
            steps = f"{search['steps']:,} steps ({share:.1%} of all)"
            ended = f"{full} of {len(search['runs'])} trials to the end"
            print(f"seed {seed}  {name:<10}  best pearson {best:.4f}  {steps}  {ended}", flush=True)
        if args.spread:
            spread = seed_spread(args.folder, whole["best"])
            print(f"seed {seed}  standard deviation of one seed {spread:.4f}", flush=True)


if __name__ == "__main__":
    main()
