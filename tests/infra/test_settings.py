"""What the settings refuse, and the key that an embedded installation makes for itself."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hematovision.secrets import load_or_create_secret_key
from tests.system import ROOT

GOOD_KEY = "k" * 64


def import_settings(tmp_path: Path, expression: str = "''", **variables: str) -> str:
    """Import the settings in a fresh process; return an expression's value, or the last error."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = subprocess.run(
        [sys.executable, "-c", f"from hematovision import settings; print({expression})"],
        cwd=ROOT,
        env={**clean, "HEMATOVISION_DATA_DIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return (process.stdout or process.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "Production needs DJANGO_SECRET_KEY"),
        ({"DJANGO_SECRET_KEY": "short"}, "Production needs DJANGO_SECRET_KEY"),
        ({"DJANGO_SECRET_KEY": "django-insecure-" + GOOD_KEY}, "Production needs DJANGO_SECRET"),
        ({"DJANGO_SECRET_KEY": GOOD_KEY, "DJANGO_DEBUG": "1"}, "refuses DJANGO_DEBUG"),
        ({"DJANGO_SECRET_KEY": GOOD_KEY, "HEMATOVISION_HTTPS": "0"}, "refuses cookies over plain"),
    ],
)
def test_production_refuses(tmp_path: Path, variables: dict[str, str], sentence: str) -> None:
    answer = import_settings(tmp_path, HEMATOVISION_PRODUCTION="1", **variables)
    assert "ImproperlyConfigured" in answer
    assert sentence in answer


def test_production_sends_cookies_over_https_only(tmp_path: Path) -> None:
    answer = import_settings(
        tmp_path,
        "settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.SECURE_SSL_REDIRECT",
        HEMATOVISION_PRODUCTION="1",
        DJANGO_SECRET_KEY=GOOD_KEY,
    )
    assert answer == "True True True"


def test_without_variables_nothing_but_local_files_is_used(tmp_path: Path) -> None:
    answer = import_settings(
        tmp_path,
        "settings.DATABASES['default']['ENGINE'], settings.CELERY_BROKER_URL, settings.DEBUG",
    )
    assert answer == "django.db.backends.sqlite3 filesystem://localhost False"


def test_variables_lead_to_postgresql_and_redis(tmp_path: Path) -> None:
    answer = import_settings(
        tmp_path,
        "settings.DATABASES['default']['ENGINE'], settings.CELERY_BROKER_URL",
        DATABASE_URL="postgres://user:secret@db/hematovision",
        CELERY_BROKER_URL="redis://broker:6379/0",
    )
    assert answer == "django.db.backends.postgresql redis://broker:6379/0"


def test_secret_key_is_kept_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    key = load_or_create_secret_key(path)
    assert len(key) >= 50
    assert load_or_create_secret_key(path) == key
    assert path.stat().st_mode & 0o077 == 0


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: import_settings(tmp_path, "settings.SECRET_KEY"), range(4)))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.glob("secret_key*")] == ["secret_key"]
