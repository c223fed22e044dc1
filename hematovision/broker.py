"""The file-system broker of the embedded system, with messages that are whole when they appear.

kombu opens a message's file under its final name and writes it afterwards. On a busy machine a
worker can take the file in between, finds nothing in it, and dies of that.
"""

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{round(time.monotonic() * 1000)}_{uuid4()}"
        folder = Path(self.data_folder_out)
        draft = folder / f".{name}.part"
        try:
            draft.write_bytes(dumps(payload).encode())
            draft.replace(folder / f"{name}.{queue}.msg")
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ChannelError(f"Cannot add a message to {folder}: {error.strerror}") from error


class Transport(filesystem.Transport):
    Channel = Channel


def use() -> None:
    """Have ``filesystem://`` mean this transport."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
