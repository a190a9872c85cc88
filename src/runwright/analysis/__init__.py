"""Analysis of runs and data sets: comparisons, reproductions, verifications, reports on data and machine."""
