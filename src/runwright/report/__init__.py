"""Log, progress, tables, pages and the final summary of a run."""
