"""The running system as the other tests use it: pages, static files, a browser, real servers."""

from urllib.request import urlopen

import psycopg
import pytest
import redis
from playwright.sync_api import Page

from tests.system import RunningSystem


@pytest.mark.slow
def test_pages_and_static_files_are_served(live_system: RunningSystem) -> None:
    with urlopen(f"{live_system.url}/healthz") as answer:
        assert answer.read() == b'{"status": "ok"}'
    assert set(live_system.passwords) == {"admin", "technician", "doctor"}


@pytest.mark.browser
def test_a_technician_logs_in(live_system: RunningSystem, page: Page) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{live_system.url}/accounts/login/")
    page.fill("[name=username]", "technician")
    page.fill("[name=password]", live_system.passwords["technician"])
    page.click("form:has([name=password]) [type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    assert problems == []


@pytest.mark.services
def test_postgresql_answers(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.services
def test_redis_answers(redis_url: str) -> None:
    assert redis.Redis.from_url(redis_url).ping()
