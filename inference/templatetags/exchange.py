"""What a model's page shows of its classifiers for small devices."""

from django import template

from inference.exchange import selectors

register = template.Library()

register.filter("edge_rows", selectors.edge_rows)
register.filter("edge_files", selectors.edge_files)
