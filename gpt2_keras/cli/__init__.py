"""The `gpt2-keras` program: one module a command, the only place that prints."""
