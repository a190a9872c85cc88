"""Text generation: decoding strategies, and decoding in which a batch changes no text."""
