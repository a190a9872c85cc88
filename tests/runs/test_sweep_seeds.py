"""Jobs that differ in their seeds: the best setting, and whether it is better than the others."""

from __future__ import annotations

from runwright.report.page.sweep_page import Job
from runwright.runs.page import best_job, settings_of, verdicts


def job(number: int, value: float, *overrides: str) -> Job:
    metrics = {"validation/f1": value}
    return Job(
        number=number,
        overrides=("fixed=1", *overrides),
        status="finished",
        exit_code=0,
        reason="",
        seconds=1.0,
        folder=None,
        metrics=metrics,
        metric="validation/f1",
        mode="max",
    )


LUCKY = job(3, 0.99, "lr=9")
JOBS = [
    job(0, 0.70, "lr=1"), job(1, 0.71, "lr=2"), job(2, 0.60, "lr=3"), LUCKY,
    job(4, 0.72, "lr=1", "seed=1"), job(5, 0.73, "lr=2", "seed=1"), job(6, 0.59, "lr=3", "seed=1"),
    job(7, 0.74, "lr=1", "seed=2"), job(8, 0.75, "lr=2", "seed=2"), job(9, 0.61, "lr=3", "seed=2"),
]  # fmt: skip


def test_the_best_setting_is_that_with_the_best_mean_of_those_with_most_seeds() -> None:
    assert [[job.number for job in same] for same in settings_of(JOBS).values()] == [
        [1, 5, 8], [0, 4, 7], [2, 6, 9], [3],
    ]  # fmt: skip
    best = best_job(JOBS)
    assert best is not None
    assert best.number == 8
    assert best_job([job(0, float("nan"))]) is None


def test_settings_are_compared_seed_by_seed() -> None:
    close, far = verdicts(JOBS)
    # Each seed is 0.01 better: exactly so, whatever the spread over seeds.
    assert close.startswith("job 1 is better than job 0: validation/f1 0.0100 [0.0100, 0.0100]")
    assert far.startswith("job 1 is better than job 2: validation/f1 0.1300 [")
    assert "paired t-test over 3 seeds, p = 0.0" in far
    noisy = [*JOBS[:2], job(4, 0.90, "lr=1", "seed=1"), job(5, 0.50, "lr=2", "seed=1")]
    (text,) = verdicts(noisy)
    assert text.startswith("job 0 cannot be told from job 1: ")
    assert verdicts([LUCKY]) == []
