"""Real servers for the tests: PostgreSQL and Redis, each on a free port with data of its own.

    python -m tests.services COMMAND ...

starts both, runs the command on them (DATABASE_URL, CELERY_BROKER_URL) and stops them.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis

START_SECONDS = 30.0
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class ServiceMissingError(Exception):
    """The server's programs are not installed here."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chromium_path() -> str:
    """The system's own browser: Playwright's download is not needed."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise ServiceMissingError("Chromium is not installed (Debian: apt install chromium).")
    return path


def postgres_folder() -> Path:
    """Where PostgreSQL's programs are; Debian keeps them off PATH."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not debian:
        raise ServiceMissingError("PostgreSQL is not installed (Debian: apt install postgresql).")
    return debian[-1].parent


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server and yield the URL of an empty database in it."""
    programs = postgres_folder()
    owner = None
    with tempfile.TemporaryDirectory(prefix="hematovision-postgres-") as folder:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            owner = "postgres"
            shutil.chown(folder, owner, owner)
        initdb = [str(programs / "initdb"), "--pgdata", folder, "--username", "hematovision"]
        initdb += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(
            initdb, check=True, cwd=folder, user=owner, group=owner, stdout=subprocess.DEVNULL
        )
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        command = [str(programs / "postgres"), "-D", folder, "-p", str(port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server = subprocess.Popen(
            command, cwd=folder, user=owner, group=owner, stderr=subprocess.DEVNULL
        )
        url = f"postgres://hematovision@127.0.0.1:{port}/postgres"
        try:
            _wait_until(lambda: psycopg.connect(url).close(), server, psycopg.OperationalError)
            yield url
        finally:
            _stop(server)


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database in a running PostgreSQL server; drop it afterwards."""
    name = f"system_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server_url.rsplit('/', 1)[0]}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis server and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise ServiceMissingError("Redis is not installed (Debian: apt install redis-server).")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hematovision-redis-") as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--appendonly", "no"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        try:
            _wait_until(redis.Redis.from_url(url).ping, server, redis.ConnectionError)
            yield url
        finally:
            _stop(server)


def _wait_until(
    answers: Callable[[], object], server: subprocess.Popen[bytes], error: type[Exception]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            answers()
        except error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # to PostgreSQL: at once, without waiting for its clients
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(10)
    server.kill()
    server.wait()


def main() -> int:
    try:
        with postgres() as database_url, redis_server() as broker_url:
            print("PostgreSQL and Redis are running for the tests.", flush=True)
            environment = {"DATABASE_URL": database_url, "CELERY_BROKER_URL": broker_url}
            return subprocess.call(sys.argv[1:], env={**os.environ, **environment})
    except ServiceMissingError as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    sys.exit(main())
