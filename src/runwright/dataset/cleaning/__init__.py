"""Steps that change or select rows; each is one class that a YAML list names."""
