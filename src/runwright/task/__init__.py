"""Tasks: what a row means, how it is encoded and collated, its loss, and what is predicted."""
