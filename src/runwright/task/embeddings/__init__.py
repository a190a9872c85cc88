"""Sentence embedding: pooling, objectives, ranking."""
