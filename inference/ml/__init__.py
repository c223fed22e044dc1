"""The machine-learning core: finds, crops, classifies and explains white blood cells.

It imports no Django and works from a plain Python prompt. ``finder``,
``preprocess``, ``bundle``, ``engine``, ``explain`` and ``smear`` serve and never
import TensorFlow; the other modules train.
"""
