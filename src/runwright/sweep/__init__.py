"""Sweeps on Optuna for any Hydra application: search space, shared study, trials as processes, pruning."""
