"""Use a trained model: predict, evaluate, search, zero-shot classification, serving."""
