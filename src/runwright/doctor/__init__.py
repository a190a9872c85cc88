"""What `runwright doctor` looks at: packages, machine, stores and runs; one finding a line."""
