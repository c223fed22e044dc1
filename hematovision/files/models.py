from django.db import models
from django.utils import timezone


class StoredImage(models.Model):
    """The bytes of one picture, kept once under their SHA-256 however often they are uploaded."""

    sha256 = models.CharField(max_length=64, unique=True)
    format = models.CharField(max_length=10)
    width = models.PositiveIntegerField(help_text="pixels, upright")
    height = models.PositiveIntegerField(help_text="pixels, upright")
    size = models.PositiveBigIntegerField(help_text="bytes")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.format} {self.width}x{self.height} {self.sha256[:12]}"

    @property
    def media_type(self) -> str:
        return f"image/{self.format.lower()}"
