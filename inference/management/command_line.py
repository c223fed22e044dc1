"""How a command was started, for the card and the report that it writes."""

import shlex
import sys


def command_line() -> str:
    """The command without ``--out``: where this machine keeps things is nobody else's business."""
    told: list[str] = []
    words = iter(sys.argv[1:])
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            told.append(word)
    return shlex.join(["manage.py", *told])
