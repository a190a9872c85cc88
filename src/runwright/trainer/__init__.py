"""The training loop: which examples when, one update, evaluation, checkpoints, and the order of events."""
