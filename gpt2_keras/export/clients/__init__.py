"""Programs that ask an artefact; they import its runtime and nothing of this package."""
