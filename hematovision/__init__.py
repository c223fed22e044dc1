"""HematoVision: finds white blood cells in microscope images and classifies each of them."""

from hematovision.celery import app as celery_app

__all__ = ["celery_app"]
__version__ = "0.1.0"
