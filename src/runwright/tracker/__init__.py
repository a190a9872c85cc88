"""Recording of runs: a journal in the run folder first, then whatever store the run is shown in."""
