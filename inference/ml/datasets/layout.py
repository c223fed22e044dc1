"""What the paths of a dataset mean: which class, and which part, each picture is of.

A picture's class is the folder that it lies in. Folders called TRAIN, TEST and the like say the
part, wherever they stand, and all others above the class folders are wrapping. Where an archive
holds several such trees (Kaggle's *Blood Cell Images* has class folders in one half and whole
fields with boxes in the other), the one with class folders side by side is taken, and a note says
what was left aside. A table overrules the folders.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from inference.ml.bundle import LONGEST_CLASS, MOST_CLASSES
from inference.ml.data import RESERVED, SUFFIXES
from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.tables import Part, Table, part_of, tidy_label

_SHOWN = 100  # of the files that a table names and that are not there


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
        Files that a table names and that are not there, the first of them.
    unmatched_count : int
        How many those are.
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
        Tables inside the archive, from `tables_in`; those that name none of its pictures are left
        aside.
    known : collection of str
        Classes that the system knows; they decide where folders could mean either class or
        photograph.

    Raises
    ------
    LayoutError
        If there are no pictures, no classes can be told, or they can be told in two ways.
    """
    every = list(names)
    pictures = [name for name in every if name.lower().endswith(tuple(SUFFIXES))]
    if not pictures:
        raise LayoutError(
            "There are no pictures (JPEG, PNG, TIFF or BMP) in it. "
            "Pack one folder for each class, with its pictures inside."
        )
    draft = _Draft(pictures)
    table = draft.choose_table(given, found)
    if table is not None and any(row.label is not None for row in table.rows.values()):
        draft.place_by_table(table)
    else:
        draft.place_by_folders(known)
        if table is not None:
            draft.add_groups(table)
    draft.refuse_labels()
    return draft.finished(len(every) - len(pictures))


class _Draft:
    """A layout while it is being made."""

    def __init__(self, pictures: list[str]) -> None:
        self.pictures = pictures
        self.placed: dict[str, Placed] = {}
        self.reasons: dict[str, str] = {}
        self.notes: list[str] = []
        self.unmatched: list[str] = []

    def choose_table(self, given: Table | None, found: Sequence[Table]) -> Table | None:
        """The table that names most of the pictures; one that a person sent must name some."""
        matches = {
            id(table): sum(table.row_of(name) is not None for name in self.pictures)
            for table in ([given] if given else found)
        }
        if given is not None:
            if not matches[id(given)]:
                example = "/".join(next(iter(given.rows), ("nothing",)))
                raise LayoutError(
                    f"The table {given.name} names none of the pictures: it says {example}, "
                    f"where the archive has {self.pictures[0]}. Write the files' paths into it."
                )
            return given
        best = max(found, key=lambda table: matches[id(table)], default=None)
        self.notes += [
            f"The table {table.name} was left aside: "
            + ("another names more pictures." if matches[id(table)] else "it names no picture.")
            for table in found
            if table is not best or not matches[id(table)]
        ]
        return best if best is not None and matches[id(best)] else None

    def place_by_table(self, table: Table) -> None:
        """Labels, photographs and parts from a table; what it does not name is left out."""
        used = set()
        for name in self.pictures:
            key = table.row_of(name)
            row = None if key is None else table.rows[key]
            if row is None or not row.label:
                self.reasons[name] = f"The table {table.name} tells no class of it."
            else:
                used.add(key)
                part = row.part if row.part is not None else _part_and_folders(name)[0]
                self.placed[name] = Placed(row.label, part or "", row.group or "")
        self._tell_table(table, used, "The classes are those of the table")

    def add_groups(self, table: Table) -> None:
        """Photographs and parts from a table that has no labels.

        Where it names some of a part's pictures, the others of that part are left out: copies
        of a photograph among them could not be kept on one side.
        """
        used = set()
        named: Counter[str] = Counter()
        unnamed: dict[str, list[str]] = defaultdict(list)
        for name, placed in self.placed.items():
            key = table.row_of(name)
            row = None if key is None else table.rows[key]
            if row is None or (row.group is not None and not row.group):
                unnamed[placed.part].append(name)
            else:
                used.add(key)
                named[placed.part] += 1
                self.placed[name] = replace(
                    placed,
                    group=row.group or "",
                    part=placed.part if row.part is None else row.part,
                )
        for part, others in unnamed.items():
            for name in others if named[part] else ():
                del self.placed[name]
                self.reasons[name] = (
                    f"The table {table.name} tells nothing of it, though of others beside it."
                )
        self._tell_table(table, used, "Source photographs are those of the table")

    def _tell_table(self, table: Table, used: set[tuple[str, ...] | None], what: str) -> None:
        self.notes.append(f"{what} {table.name}.")
        self.unmatched = ["/".join(path) for path in table.rows if path not in used]
        if self.unmatched:
            self.notes.append(
                f"{len(self.unmatched):,} of the {len(table.rows):,} files that the table "
                f"{table.name} names are not used: they are not there or were left out."
            )

    def place_by_folders(self, known: Collection[str]) -> None:
        parts: dict[str, Part] = {}
        trees: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = defaultdict(dict)
        for name in self.pictures:
            part, folders = _part_and_folders(name)
            parts[name] = part or ""
            if folders:
                trees[folders[:-1]][name] = folders
            else:
                self.reasons[name] = "It lies in no class folder."
        if not trees:
            raise LayoutError(
                "No picture lies in a class folder. Make one folder for each class, "
                "or add a table with the columns file and label."
            )
        chosen, by_parent = self._choose_trees(trees, known)
        for root, members in trees.items():
            for name, folders in members.items():
                if root not in chosen:
                    self.reasons[name] = "It lies outside the class folders that were chosen."
                elif by_parent:
                    group = "/".join(folders[-2:])
                    self.placed[name] = Placed(tidy_label(folders[-2]), parts[name], group)
                else:
                    self.placed[name] = Placed(tidy_label(folders[-1]), parts[name], "")

    def _choose_trees(
        self,
        trees: dict[tuple[str, ...], dict[str, tuple[str, ...]]],
        known: Collection[str],
    ) -> tuple[set[tuple[str, ...]], bool]:
        """Which folders hold class folders, and whether the class is one folder further up."""
        labels = {
            root: {tidy_label(folders[-1]) for folders in members.values()}
            for root, members in trees.items()
        }
        if len(trees) == 1:
            return set(trees), False
        above = {tidy_label(root[-1]) for root in trees if root}
        here = set().union(*labels.values())
        if above & set(known) and not here & set(known):
            self.notes.append("Folders inside the class folders are taken as source photographs.")
            return {root for root in trees if root}, True

        rich = {root for root in trees if len(labels[root]) > 1}
        if here & set(known):
            rich = {root for root in rich if labels[root] & set(known)} or rich
        chosen = rich or set(trees)
        if len(rich) > 1 and not _alike([labels[root] for root in rich]):
            one, other = sorted(rich, key=lambda root: -len(trees[root]))[:2]
            raise LayoutError(
                f"Classes could be the folders in {_folder(one)} or those in {_folder(other)}. "
                "Pack one of them, or add a table with the columns file and label."
            )
        aside = sorted(set(trees) - chosen)
        self.notes += [
            f"{len(trees[root]):,} pictures in {_folder(root)} were left aside: they are not "
            f"beside the class folders in {', '.join(map(_folder, sorted(chosen)))}."
            for root in aside[:5]
        ]
        return chosen, False

    def refuse_labels(self) -> None:
        """Leave out what has no usable class, and refuse what has too many."""
        for name, placed in list(self.placed.items()):
            reason = label_refused(placed.label)
            if reason:
                del self.placed[name]
                self.reasons[name] = reason
        if not self.placed:
            raise LayoutError(
                "No picture has a class that can be used. " + next(iter(self.reasons.values()), "")
            )
        classes = {placed.label for placed in self.placed.values()}
        if len(classes) > MOST_CLASSES:
            raise LayoutError(
                f"There are {len(classes):,} folders with pictures, which cannot all be classes. "
                "Put the pictures of a class into one folder, and name patients in a table."
            )

    def finished(self, not_pictures: int) -> Layout:
        order = {name: at for at, name in enumerate(self.pictures)}
        return Layout(
            pictures=dict(sorted(self.placed.items(), key=lambda row: order[row[0]])),
            left_out=tuple(LeftOut(name, reason) for name, reason in self.reasons.items()),
            not_pictures=not_pictures,
            notes=tuple(self.notes),
            unmatched=tuple(self.unmatched[:_SHOWN]),
            unmatched_count=len(self.unmatched),
        )


def _part_and_folders(name: str) -> tuple[Part | None, tuple[str, ...]]:
    """The part that the innermost such folder names, and the other folders."""
    folders = name.split("/")[:-1]
    parts = [part for folder in folders if (part := part_of(folder)) is not None]
    others = tuple(folder for folder in folders if part_of(folder) is None)
    return (parts[-1] if parts else None), others


def _alike(sets: Sequence[set[str]]) -> bool:
    """Whether several folders hold the same classes, for the most part, as two laboratories do."""
    largest = max(sets, key=len)
    return all(2 * len(labels & largest) >= min(len(labels), len(largest)) for labels in sets)


def label_refused(label: str) -> str:
    if label in RESERVED:
        return f"“{label}” is a mark that cells get, which no class may be called. Rename it."
    if not label or len(label) > LONGEST_CLASS:
        return f"The class's name is empty or longer than {LONGEST_CLASS} letters. Rename it."
    return ""


def _folder(parts: tuple[str, ...]) -> str:
    return "/".join(parts) or "the top"
