"""Log, progress, plots, tables, pages and the final summary of a run."""
