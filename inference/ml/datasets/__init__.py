"""Datasets of labelled pictures: read safely, understood, measured and looked at.

An import goes through the modules in this order: ``archive`` (what is in the ZIP or folder),
``tables`` and ``layout`` (what the paths mean), ``gather`` (decode and measure each picture once:
``facts``, ``look``), ``manifest`` (what a version holds, and its hash), ``alike`` (duplicates),
``copies`` (augmented copies without known photographs) and ``explore`` (figures and sentences,
``outliers``). These serve: they import NumPy and OpenCV only. ``drawings`` and ``report`` make the
plots and the saved page; they need matplotlib and Jinja2 and belong to the training side.
"""
