"""Token classification: columns, tag schemes, spans, results."""
