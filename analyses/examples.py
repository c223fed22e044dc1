"""The "try an example" button: a synthetic smear, marked as such, on the way of every upload."""

import secrets
from io import BytesIO

from PIL import Image

from accounts.models import Site, User
from analyses.models import Sample
from analyses.services import NewSample, images_upload


def example_sample_create(*, site: Site, by: User, images: int = 2) -> Sample:
    """Draw some synthetic fields and upload them to a sample of their own."""
    from inference.ml.smear import make_smear  # OpenCV: only for who asks for an example

    files = []
    for number in range(images):
        seed = secrets.randbelow(2**31)
        target = BytesIO()
        Image.fromarray(make_smear(seed, white_cells=3, stain="wright").image).save(target, "PNG")
        files.append((f"synthetic-smear-{number + 1}.png", target.getvalue()))
    sample, _ = images_upload(target=NewSample(site=site, is_synthetic=True), files=files, by=by)
    assert sample is not None, "a synthetic smear always passes the gate"
    return sample
