"""Whether the promises hold for one experiment: what is measured, and how it is judged."""
