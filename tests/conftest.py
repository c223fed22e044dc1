"""Fixtures for the whole suite: folders of their own, real servers, a real browser."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pytest_django import Settings

from tests.services import (
    CHROMIUM_ARGUMENTS,
    ServiceMissingError,
    chromium_path,
    postgres,
    redis_server,
)
from tests.system import RunningSystem


def skip_or_fail(reason: str) -> NoReturn:
    """Skip, or fail where everything has to be there (CI sets HEMATOVISION_REQUIRE_SERVICES)."""
    if os.environ.get("HEMATOVISION_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share one running system in one process, so that it starts once."""
    for item in items:
        if "live_system" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("live_system"))


@pytest.fixture(autouse=True)
def files_folder(settings: Settings, tmp_path: Path) -> Path:
    """A store of its own for each test."""
    folder = tmp_path / "files"
    (folder / "incoming").mkdir(parents=True)
    settings.MEDIA_ROOT = folder
    settings.FILE_UPLOAD_TEMP_DIR = str(folder / "incoming")
    return folder


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images that HEMATOVISION_TEST_DATA points to."""
    folder = os.environ.get("HEMATOVISION_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HEMATOVISION_TEST_DATA points to no folder of real images.")
    return Path(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A database of a real PostgreSQL: the suite's own server, or one for this session."""
    yield from _server("DATABASE_URL", postgres)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis: the suite's own server, or one for this session."""
    yield from _server("CELERY_BROKER_URL", redis_server)


def _server(variable: str, start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    if variable in os.environ:
        yield os.environ[variable]
        return
    try:
        with start() as url:
            yield url
    except ServiceMissingError as missing:
        skip_or_fail(str(missing))


@pytest.fixture(scope="session")
def live_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """Web and inference worker, running; shared by the tests of the session."""
    with RunningSystem(tmp_path_factory.mktemp("live-system")) as system:
        yield system


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """pytest-playwright's browser is the system's Chromium, which reaches for nothing by itself."""
    try:
        chromium = chromium_path()
    except ServiceMissingError as missing:
        skip_or_fail(str(missing))
    # Playwright's loop would have Django refuse its database in this process's other tests.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    return {
        **browser_type_launch_args,
        "executable_path": chromium,
        "args": CHROMIUM_ARGUMENTS,
    }
