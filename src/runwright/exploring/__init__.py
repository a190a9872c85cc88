"""What a data set looks like before anything is trained on it."""
