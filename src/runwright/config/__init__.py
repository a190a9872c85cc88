"""Compose, check and resolve a configuration; imports nothing heavy."""
