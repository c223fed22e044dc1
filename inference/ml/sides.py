"""On which side each picture of a training is: where it was, where it is said to be, or dealt.

Imports no TensorFlow, so that a form can say what a training would be made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.ml.bundle import load_bundle
from inference.ml.data import DataError, Item, Listing, count_by
from inference.ml.evaluation.leakage import HELD_BACK, sides_known, with_photographs
from inference.ml.settings import Settings
from inference.ml.sidecar import ManifestRow, training_rows
from inference.ml.split import SIDES, Side, split_by_group

LEAST_PHOTOGRAPHS = 3
"""Of a class: one each to train, to choose and to test with."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """Items and their sides.

    Attributes
    ----------
    items : list of Item
        Those of the listing, with the photographs that earlier models knew.
    sides : list of side
        One for each item.
    kept : int
        Photographs that kept the side they had.
    not_tested : int
        Photographs whose part is ``test``, but which an earlier model was trained on.
    """

    items: list[Item]
    sides: list[Side]
    kept: int
    not_tested: int

    def of(self, side: Side) -> list[Item]:
        """The items of a side."""
        return [item for item, its in zip(self.items, self.sides, strict=True) if its == side]


def manifests_of(folders: Sequence[Path]) -> list[list[ManifestRow]]:
    """What bundles were made with; nothing is known of one that was trained elsewhere.

    Raises
    ------
    BundleError
        If one cannot be used.
    """
    bundles = [load_bundle(folder) for folder in folders]
    return [training_rows(bundle) for bundle in bundles]


def deal(
    listing: Listing, settings: Settings, manifests: Sequence[Sequence[ManifestRow]] = ()
) -> Dealt:
    """Put every source photograph on a side.

    What an earlier model knows stays where it was (see `sides_before`); then, if the settings
    say so, what is said to be for testing is; the rest is dealt by `split_by_group`.

    Parameters
    ----------
    listing : Listing
    settings : Settings
    manifests : sequence of sequences of ManifestRow
        Of the models whose sides are to be kept.

    Raises
    ------
    DataError
        If a photograph is said to be on two sides, or there is too little to train with.
    """
    items = listing.items
    for manifest in manifests:
        items = with_photographs(items, manifest)
    check_enough(items)
    before = sides_before(items, manifests)
    given = sides_given(items) if settings.given_parts else {}
    sides = split_by_group(
        [item.group for item in items],
        [item.stratum for item in items],
        validation=settings.validation,
        test=0 if given else settings.test,
        seed=settings.seed,
        locked=given | before,
    )
    not_tested = [group for group in given if before.get(group, HELD_BACK) != HELD_BACK]
    dealt = Dealt(items, sides, len(before), len(not_tested))
    for side in SIDES:
        if not dealt.of(side):
            raise DataError(f"No photograph is left for the {side} side. Give more pictures.")
    gone = {item.label for item in items} - {item.label for item in dealt.of("train")}
    if gone:
        raise DataError(
            f"No photograph of {', '.join(sorted(gone))} is left to train with. Give more "
            "pictures, or leave the class out."
        )
    return dealt


def check_enough(items: Sequence[Item]) -> None:
    """Make sure that there is enough to train, to choose and to test with.

    Raises
    ------
    DataError
        With what is missing.
    """
    photographs = {(item.label, item.group) for item in items}
    counts = count_by([label for label, _ in photographs])
    if len(counts) < 2:
        raise DataError("There must be pictures of at least two classes.")
    if len({group for _, group in photographs}) == 1:
        raise DataError(
            f"All {len(items)} pictures are of one source photograph, or copies of one another: "
            "there is nothing to test with. Give pictures of others."
        )
    few = [f"{label} has {count}" for label, count in counts.items() if count < LEAST_PHOTOGRAPHS]
    if few:
        raise DataError(
            f"Every class needs {LEAST_PHOTOGRAPHS} source photographs at least, one each to "
            f"train, to validate and to test with, but {', '.join(few)}. Give more, or leave "
            "the class out."
        )


def sides_before(
    items: Sequence[Item], manifests: Sequence[Sequence[ManifestRow]]
) -> dict[str, Side]:
    """The side of each group that an earlier model knew.

    ``test`` if it was held back by all that knew it, else ``train`` if one was trained on it,
    else ``validation``: nothing that a model has seen becomes a test of it or of its heirs.

    Parameters
    ----------
    items : sequence of Item
        From `with_photographs`, with all of the manifests.
    manifests : sequence of sequences of ManifestRow
    """
    known: dict[str, set[str]] = defaultdict(set)
    for manifest in manifests:
        for group, sides in sides_known(items, manifest).items():
            known[group] |= sides
    return {group: _strictest(sides) for group, sides in known.items()}


def sides_given(items: Sequence[Item]) -> dict[str, Side]:
    """The groups that are said to be for testing.

    Raises
    ------
    DataError
        If there are none, or one is said to be for training as well.
    """
    tested = {item.group: item for item in items if item.part == HELD_BACK}
    if not tested:
        raise DataError(
            "No picture is said to be for testing. Use the split by photograph instead."
        )
    for item in items:
        if item.part != HELD_BACK and item.group in tested:
            raise DataError(
                f"The given parts share photographs: {tested[item.group].shown} is said to be for "
                f"testing, and {item.shown}, of the same photograph, is not. Its figures would "
                "flatter: use the split by photograph instead."
            )
    return dict.fromkeys(tested, "test")


def _strictest(sides: set[str]) -> Side:
    if sides == {HELD_BACK}:
        return "test"
    return "validation" if sides <= {"validation", HELD_BACK} else "train"
