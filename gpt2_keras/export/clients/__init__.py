"""Programs that ask an artifact; they import its runtime and nothing of this package."""
