"""Rows: where they come from, how they are cleaned, split, checked, and kept once encoded."""
