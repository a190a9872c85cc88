"""An HTTP server around one model."""
