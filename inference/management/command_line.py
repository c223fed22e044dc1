"""How a command was started, for the card and the report that it writes."""

import shlex
import sys

_PLACES = ("--out", "--folder")


def command_line() -> str:
    """The command without where it writes: where this machine keeps things is its own business."""
    told: list[str] = []
    words = iter(sys.argv[1:])
    for word in words:
        if word in _PLACES:
            next(words, None)
        elif not word.startswith(tuple(f"{place}=" for place in _PLACES)):
            told.append(word)
    return shlex.join(["manage.py", *told])
