"""Training runs: the form, the run, its live page."""
