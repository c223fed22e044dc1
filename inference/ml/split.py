"""Split a data set so that no source photograph has copies on two sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
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

    Returns
    -------
    list of "train", "validation" or "test"
        One for each item. A stratum of three groups or more has one on every side,
        if its share is not zero; a smaller one stays in training.

    Raises
    ------
    ValueError
        If the lengths differ or the shares leave nothing to train on.
    """
    if len(groups) != len(strata):
        raise ValueError("There must be one stratum for each item.")
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError("The shares must not be negative and must leave some for training.")

    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata, strict=True):
        votes[group][stratum] += 1
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(votes):
        stratum = min(votes[group], key=lambda name: (-votes[group][name], name))
        members[stratum].append(group)

    rng = np.random.default_rng(seed)
    side_of: dict[str, Side] = {}
    for stratum in sorted(members):
        names = [members[stratum][index] for index in rng.permutation(len(members[stratum]))]
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


def _count(groups: int, share: float) -> int:
    """Groups of a stratum for one side; never so many that another side goes without."""
    if groups < 3 or share == 0:
        return 0
    return min(max(1, round(groups * share)), (groups - 1) // 2)
