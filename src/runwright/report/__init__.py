"""What a run shows to people: log, progress, plots, tables and the final summary."""
