"""MLflow as a tracker: store, uploader, logged model."""
