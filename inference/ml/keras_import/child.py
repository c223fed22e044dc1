"""``python -m inference.ml.keras_import.child FILE OUT``: read a stranger's file, within limits.

Writes into OUT either ``recognised.json`` and ``arrays.npz``, or ``refused.json``. It may use
little memory and time, write nowhere else, start nothing and reach no network; whatever a
damaged or hostile file does to HDF5's code, it does to this process alone.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from inference.ml.keras_import import ARRAYS, RECOGNISED, REFUSED, KerasFileError

MEMORY = 3 << 30
"""Bytes of address space: the arrays twice, and the libraries."""

SECONDS = 120  # of the processor
FILE_BYTES = 2_100_000_000
OPEN_FILES = 32

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NEVER = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "marshal.loads", "pickle.find_class", "ctypes.", "exec", "compile"),
    *("socket.", "import", "os.kill", "os.remove", "os.rename", "os.symlink", "os.chmod"),
)
"""Events that Python reports (PEP 578) and that reading data never causes."""


class Forbidden(BaseException):
    """Something was tried that reading data never does. Nobody catches it: the process ends."""


def main() -> None:
    path, out = Path(sys.argv[1]), Path(sys.argv[2])
    limit()
    # Now, since nothing may be imported once the file is open.
    import zipfile  # noqa: F401  (numpy.savez)

    import numpy as np

    from inference.ml.keras_import.container import opened
    from inference.ml.keras_import.graph import read_graph
    from inference.ml.keras_import.recognise import recognise

    np.savez(out / ARRAYS, warm=np.zeros(1, np.float32))
    for codec in ("ascii", "cp437", "latin-1", "utf-8"):
        codecs.lookup(codec)
    shut(out)
    try:
        with opened(path, out) as container:
            graph = read_graph(container.config)
            found, nodes = recognise(graph, kind=container.kind, version=container.version)
            arrays = {
                f"{name}/{variable}": numbers
                for name, node in nodes.items()
                for variable, numbers in container.arrays(node).items()
            }
        np.savez(out / ARRAYS, **arrays)  # type: ignore[arg-type]
        text = json.dumps(found.to_dict())
        (out / RECOGNISED).write_text(text, encoding="utf-8")
    except KerasFileError as error:
        _refuse(out, str(error))
    except (RecursionError, MemoryError):
        _refuse(out, "The file is nested too deeply or needs too much memory to be read.")


def limit() -> None:
    """Bound what this process may use, before it has seen a byte of the file."""
    os.nice(10)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def shut(out: Path) -> None:
    """From now on: no process, no network, no code, and nothing written outside `out`."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    allowed = str(out.resolve()) + os.sep

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(_NEVER):
            raise Forbidden(event)
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
            target = os.path.realpath(os.fsdecode(args[0]))
            if not target.startswith(allowed):
                raise Forbidden(f"writing {target}")

    sys.addaudithook(watch)


def _refuse(out: Path, reason: str) -> None:
    (out / REFUSED).write_text(json.dumps({"reason": reason}), encoding="utf-8")


if __name__ == "__main__":
    main()
