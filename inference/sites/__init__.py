"""A site and its model: the first day, validation, adaptation, watching."""
