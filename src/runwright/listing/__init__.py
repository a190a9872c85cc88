"""Runs as rows: read from their folders or from MLflow, filtered, sorted and shown."""
