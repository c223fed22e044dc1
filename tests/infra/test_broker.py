"""The file-system broker: a message is whole as soon as anybody can see it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from hematovision import broker

pytestmark = pytest.mark.unit

MESSAGES = 200


def test_a_message_is_never_read_half(tmp_path: Path) -> None:
    options = {"data_folder_in": tmp_path, "data_folder_out": tmp_path}
    with Connection("filesystem://", transport_options=options) as connection:
        channel = connection.channel()
        assert isinstance(channel, broker.Channel)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.map(
                lambda number: channel._put("training", {"number": number}), range(MESSAGES)
            )
            read: list[int] = []
            while len(read) < MESSAGES:
                try:
                    read.append(channel._get("training")["number"])
                except Empty:
                    continue
            list(writing)
    assert sorted(read) == list(range(MESSAGES))
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
