"""Transformers models with a fresh head: from a pretrained checkpoint or from a configuration."""
