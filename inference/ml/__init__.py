"""The machine-learning core: finds, crops, classifies and explains white blood cells.

It imports no Django and works from a plain Python prompt. ``finder``, ``quality``,
``stain``, ``preprocess``, ``bundle``, ``sidecar``, ``litert``, ``views``,
``unfamiliar``, ``engine``, ``explain`` and ``smear`` serve: they import neither
TensorFlow nor SciPy. ``datasets`` reads and explores what to train with; its plots and
page need matplotlib and Jinja2, the rest of it serves. ``evaluation``, ``last_layer`` and
``adapt`` measure and adapt without TensorFlow; the other modules train.
"""
