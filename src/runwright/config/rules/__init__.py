"""Rules about options that depend on each other, checked before anything is loaded."""
