"""Measure a model on pictures that it has not seen, without flattering it.

Every figure has a 95 % interval over source photographs, since copies of one
photograph are no further evidence, and their number beside it. Belongs to the training
side: needs scikit-learn, matplotlib and Jinja2, but no TensorFlow.
"""
