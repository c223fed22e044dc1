"""The secret key of an embedded installation."""

import os
from pathlib import Path
from secrets import token_urlsafe


def load_or_create_secret_key(path: Path) -> str:
    """Return the key kept at ``path``, readable by its owner only; make it on the first call.

    Two processes that start together end with the same key: the file is created exclusively,
    whole, and the one that comes second reads what the first has written.
    """
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where another process was first
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text().strip()
