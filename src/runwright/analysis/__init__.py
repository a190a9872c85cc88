"""What runs and data sets show: differences, comparisons, reproductions, reports on data and machine."""
