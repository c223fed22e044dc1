"""Split a data set so that no source photograph has copies on two sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)


def split_by_group(
    groups: Sequence[str],
    strata: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int,
    locked: Mapping[str, Side] | None = None,
) -> list[Side]:
    """Put every group, whole, on one side, with the shares kept within each stratum.

    Parameters
    ----------
    groups : sequence of str
        Source photograph of each item.
    strata : sequence of str
        What the shares are kept for, e.g. data set and class. A group whose items
        lie in several strata counts as one of its most frequent.
    validation, test : float
        Shares of the groups.
    seed : int
    locked : mapping of str to side, optional
        Groups that are on a side already. Only the others are dealt, and the shares are
        of these.

    Returns
    -------
    list of "train", "validation" or "test"
        One for each item. A stratum of three groups or more that are dealt has one on every
        side, if its share is not zero; a smaller one stays in training.

    Raises
    ------
    ValueError
        If the lengths differ or the shares leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError("The shares must not be negative and must leave some for training.")

    side_of: dict[str, Side] = dict(locked or {})
    _check_lengths(groups, strata)
    rows = zip(groups, strata, strict=True)
    free = [row for row in rows if row[0] not in side_of]
    for names in _shuffled_strata([group for group, _ in free], [name for _, name in free], seed):
        for_test = _count(len(names), test)
        for_validation = _count(len(names), validation)
        for position, name in enumerate(names):
            if position < for_test:
                side_of[name] = "test"
            elif position < for_test + for_validation:
                side_of[name] = "validation"
            else:
                side_of[name] = "train"
    return [side_of[group] for group in groups]


def folds_by_group(
    groups: Sequence[str], strata: Sequence[str], *, folds: int, seed: int
) -> list[int]:
    """Deal every group, whole, into one fold of a cross-validation.

    Parameters
    ----------
    groups, strata : sequence of str
        As for `split_by_group`.
    folds : int
    seed : int

    Returns
    -------
    list of int
        The fold of each item, from 0. The numbers of a stratum's groups in two folds
        differ by one at most, and so do those of all groups.

    Raises
    ------
    ValueError
        If the lengths differ, or there are fewer than two folds or fewer groups than folds.
    """
    dealt = [name for names in _shuffled_strata(groups, strata, seed) for name in names]
    if not 2 <= folds <= len(dealt):
        raise ValueError(
            f"There must be 2 folds or more, and no more than the {len(dealt)} photographs."
        )
    fold_of = {name: position % folds for position, name in enumerate(dealt)}
    return [fold_of[group] for group in groups]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One data set held back from training on the others.

    Attributes
    ----------
    dataset : str
    classes : tuple of str
        That occur on both sides.
    train : list of int
        Positions of the other sets' items, but for those that share a group with the
        set left out.
    test : list of int
        Positions of the items of this data set that are of a shared class.
    """

    dataset: str
    classes: tuple[str, ...]
    train: list[int]
    test: list[int]


def leave_one_dataset_out(
    datasets: Sequence[str], labels: Sequence[str], groups: Sequence[str]
) -> list[LeftOut]:
    """Hold back each data set in turn: what a laboratory that was never seen would get.

    Parameters
    ----------
    datasets, labels, groups : sequence of str
        Of each item.

    Raises
    ------
    ValueError
        If there is one data set only, or one shares fewer than two classes with the others.
    """
    rows = list(zip(datasets, labels, groups, strict=True))
    if len(set(datasets)) < 2:
        raise ValueError("To leave a data set out there must be two or more.")
    left_out = []
    for dataset in sorted(set(datasets)):
        here = {group for name, _, group in rows if name == dataset}
        train = [
            at for at, (name, _, group) in enumerate(rows) if name != dataset and group not in here
        ]
        shared = {label for name, label, _ in rows if name == dataset} & {
            labels[at] for at in train
        }
        if len(shared) < 2:
            raise ValueError(f"{dataset} shares fewer than two classes with the other data sets.")
        test = [
            at for at, (name, label, _) in enumerate(rows) if name == dataset and label in shared
        ]
        left_out.append(LeftOut(dataset, tuple(sorted(shared)), train, test))
    return left_out


def _shuffled_strata(groups: Sequence[str], strata: Sequence[str], seed: int) -> list[list[str]]:
    """The groups of each stratum in random order, which the order of the items does not touch."""
    _check_lengths(groups, strata)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata, strict=True):
        votes[group][stratum] += 1
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(votes):
        stratum = min(votes[group], key=lambda name: (-votes[group][name], name))
        members[stratum].append(group)
    rng = np.random.default_rng(seed)
    return [
        [members[stratum][index] for index in rng.permutation(len(members[stratum]))]
        for stratum in sorted(members)
    ]


def _check_lengths(groups: Sequence[str], strata: Sequence[str]) -> None:
    if len(groups) != len(strata):
        raise ValueError("There must be one stratum for each item.")


def _count(groups: int, share: float) -> int:
    """Groups of a stratum for one side; never so many that another side goes without."""
    if groups < 3 or share == 0:
        return 0
    return min(max(1, round(groups * share)), (groups - 1) // 2)
