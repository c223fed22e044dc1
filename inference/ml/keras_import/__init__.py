"""Take over a classifier that was trained elsewhere with Keras: its numbers, never its code.

Loading such a file the usual way can run what somebody hid in it. So nothing of it is loaded:

- a process of its own with hard limits (`child`) opens the container (`container`), reads what
  the file says of its layers as plain data (`graph`), recognises a network that this program
  knows how to build (`recognise`), and writes the arrays of numbers and that description;
- only then, from these two, `building` makes the network anew and writes a bundle.

`sandbox` starts the first part. ``docs/model/keras_import.md`` says what is taken.
"""

RECOGNISED, ARRAYS, REFUSED = "recognised.json", "arrays.npz", "refused.json"
"""What the process that reads a file leaves."""


class KerasFileError(Exception):
    """A file is not taken; the message says why and what to do."""
