"""The folder of a run and its life: configuration, lock, status, record, resume."""
