"""Tokenizers: pretrained ones, what truncation loses, and a fingerprint of all that changes an encoding."""
