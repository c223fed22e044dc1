"""Datasets: upload, import, look at the data, change class names."""
