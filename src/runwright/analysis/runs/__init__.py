"""List runs as rows, from their folders or from MLflow, and show them as tables."""
