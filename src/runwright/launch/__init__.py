"""Start a run here, on several local processes, or as many runs of a sweep."""
