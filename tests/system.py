"""The whole system as an installation runs it, for the tests that need a real server and worker.

with RunningSystem(tmp_path) as system:
    system.url, system.passwords["technician"], system.kill_worker(), system.manage("shell")
"""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import psycopg

from scripts.supervisor import environment, read_procfile
from tests.services import free_port, new_database, redis_server

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0


class RunningSystem:
    """Starts the Procfile's processes on a data folder of their own.

    Without more it is embedded (SQLite, files), or scaled on a database and a broker of its own
    where the suite itself runs on PostgreSQL and Redis.

    Args:
        folder: an empty folder for its data, static files and logs.
        processes: which of the Procfile's processes to start.
        variables: environment variables on top, ``DATABASE_URL`` say.
    """

    def __init__(
        self,
        folder: Path,
        *,
        processes: tuple[str, ...] = ("web", "worker"),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.processes = processes
        self.variables = dict(variables or {})
        self.passwords: dict[str, str] = {}
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._servers = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._use_own_servers()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.passwords = passwords_in(self.manage("bootstrap"))
            for name in self.processes:
                self.start(name)
            self._wait_for_pages()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py on this system and return what it prints."""
        command = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if command.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{command.stderr}")
        return command.stdout

    def row(self, query: str) -> tuple[Any, ...]:
        """The first row of a query, read beside the running system: fast enough to act in time."""
        if url := self.variables.get("DATABASE_URL"):
            with psycopg.connect(url) as connection:
                row = connection.execute(query).fetchone()
        else:
            database = sqlite3.connect(self.folder / "data" / "db.sqlite3", timeout=20)
            with closing(database) as connection:
                row = connection.execute(query).fetchone()
        assert row, query
        return tuple(row)

    def start(self, name: str) -> None:
        """Start one of the Procfile's processes; its output goes to log(name)."""
        command = read_procfile(ROOT / "Procfile")[name]
        with self._log_file(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """kill -9 a process and its children, with whatever they have in hand."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def start_worker(self) -> None:
        self.start("worker")

    def kill_worker(self) -> None:
        self.kill("worker")

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def log(self, name: str) -> str:
        return self._log_file(name).read_text(errors="replace")

    def stop(self) -> None:
        """End everything at once; how it ends in good order is the supervisor's matter."""
        for name in list(self._running):
            self.kill(name)
        self._servers.close()

    def _use_own_servers(self) -> None:
        """Take a database and a broker that no other test uses, where the suite has servers."""
        database_url = os.environ.get("DATABASE_URL")
        if database_url and "DATABASE_URL" not in self.variables:
            own = self._servers.enter_context(new_database(database_url))
            self.variables["DATABASE_URL"] = own
        if "CELERY_BROKER_URL" in os.environ and "CELERY_BROKER_URL" not in self.variables:
            self.variables["CELERY_BROKER_URL"] = self._servers.enter_context(redis_server())

    def _environment(self) -> dict[str, str]:
        own = {
            "DJANGO_SETTINGS_MODULE": "hematovision.settings",
            "HEMATOVISION_DATA_DIR": str(self.folder / "data"),
            "HEMATOVISION_STATIC_DIR": str(self.folder / "static"),
            "PORT": str(self.port),
        }
        return {**environment(), **own, **self.variables}

    def _log_file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _wait_for_pages(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urlopen(f"{self.url}/healthz", timeout=5):
                    return
            except (URLError, OSError) as error:
                if time.monotonic() > deadline or self._running["web"].poll() is not None:
                    raise RuntimeError(f"No page from {self.url}:\n{self.log('web')}") from error
                time.sleep(0.05)


def passwords_in(bootstrap_output: str) -> dict[str, str]:
    """The first passwords by user name, from what ``manage.py bootstrap`` prints."""
    return dict(re.findall(r"^ +(\w+) +([a-z0-9-]{20,})$", bootstrap_output, re.MULTILINE))
