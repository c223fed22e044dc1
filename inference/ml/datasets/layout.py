"""What the paths of a dataset mean: which class, and which part, each picture is of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.tables import Part, Table


class LayoutError(Exception):
    """It cannot be told which picture is of which class; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What is known of a picture before it is opened.

    Attributes
    ----------
    label : str
        Its class: lower case, single spaces.
    part : "train", "test" or ""
        The side that the dataset's maker put it on; validation counts as train.
    group : str
        Its source photograph (or patient) within the dataset; "" if nobody has told.
    """

    label: str
    part: Part
    group: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What the paths of an archive or folder mean.

    Attributes
    ----------
    pictures : dict from path to Placed
    left_out : tuple of LeftOut
        Pictures that are not taken, each with the reason.
    not_pictures : int
        Files of other kinds, which are passed over.
    notes : tuple of str
        Sentences: what was understood and what was left aside.
    unmatched : tuple of str
        Files that a table names and that are not there; see also `unmatched_count`.
    unmatched_count : int
    """

    pictures: dict[str, Placed]
    left_out: tuple[LeftOut, ...]
    not_pictures: int
    notes: tuple[str, ...]
    unmatched: tuple[str, ...]
    unmatched_count: int

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({placed.label for placed in self.pictures.values()}))

    @property
    def groups_known(self) -> bool:
        """Whether every picture's source photograph is told."""
        return all(placed.group for placed in self.pictures.values())


def tables_among(names: Iterable[str]) -> list[str]:
    """The CSV files among paths: candidates for `read_table`, which the caller reads first."""
    raise NotImplementedError


def understand(
    names: Iterable[str],
    *,
    given: Table | None = None,
    found: Sequence[Table] = (),
    known: Collection[str] = (),
) -> Layout:
    """Tell the class and part of each picture from its path and from tables.

    Parameters
    ----------
    names : iterable of str
        Of `Source.names`.
    given : Table, optional
        That a person sent beside the archive: it must name files of it.
    found : sequence of Table
        Tables inside the archive; those that name none of its files are left aside.
    known : collection of str
        Classes that the system knows; they decide where folders could mean either class or
        photograph.

    Raises
    ------
    LayoutError
        If there are no pictures, no classes can be told, or they can be told in two ways.
    """
    raise NotImplementedError
