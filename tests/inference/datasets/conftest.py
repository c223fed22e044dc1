import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from accounts.permissions import Role
from tests.factories import UserFactory, smear


@pytest.fixture
def admin(db: None) -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a ZIP archive with these files."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def smears(
    labels: tuple[str, ...] = ("LYMPHOCYTE", "NEUTROPHIL"), each: int = 3
) -> dict[str, bytes]:
    """Synthetic smears in class folders, each like no other."""
    names = [f"{label}/{number}.png" for label in labels for number in range(each)]
    return {name: smear(seed, white_cells=1) for seed, name in enumerate(names)}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
