"""The registry: versions, comparison, promotion, roll-back, export and import."""
