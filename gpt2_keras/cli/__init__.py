"""The `gpt2-keras` program: one module for each command, the only place that prints."""
