"""List runs as rows, from their folders or from MLflow; filtered and sorted."""
