"""Whether one run, or one side of several seeds, is better than another: tests, words, a table, curves."""
