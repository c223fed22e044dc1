"""Models out to small devices, and in from plain Keras files."""
