"""Evaluate a bundle on labelled pictures: check, answer, measure, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inference.ml.bundle import Bundle, load_bundle
from inference.ml.data import DataError, Decode, Item, Listing, count_by
from inference.ml.engine import Engine
from inference.ml.evaluation.answers import Answers, answer, cut
from inference.ml.evaluation.leakage import (
    check_unseen,
    held_back,
    named_alike,
    trained_on,
    with_photographs,
)
from inference.ml.evaluation.report import render
from inference.ml.evaluation.study import (
    by_knowledge,
    compared,
    near_copies,
    standing,
    study,
    unknown_classes,
)
from inference.ml.faithfulness import faithfulness, spread_over
from inference.ml.preprocess import IMAGE, box_in_crop
from inference.ml.sidecar import training_rows

SCHEMA_VERSION = 1
POOLED = "all together"
MIXTURE = "a mixture: read the sets by themselves"
Report = Callable[[int, int, str], None]
"""Told how many of how many pictures are done, and a line if there is news."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation is told.

    Attributes
    ----------
    bundle : Path
    out : Path
        Folder for ``report.html`` and ``report.json``.
    held_back : bool
        Whether to take only what the model's training held back.
    against : Path or None
        Another bundle to compare with.
    explain : int
        Cells whose heat maps are measured; 0 leaves that out.
    workers : int
        Pictures worked on at a time.
    seed : int
    command : str
        How the run was started, for the report.
    """

    bundle: Path
    out: Path
    held_back: bool = False
    against: Path | None = None
    explain: int = 60
    workers: int = 2
    seed: int = 0
    command: str = ""


def run(
    listing: Listing, settings: Settings, report: Report = lambda *_: None, *, decode: Decode
) -> dict[str, Any]:
    """Evaluate, and write ``report.html`` and ``report.json``.

    Parameters
    ----------
    listing : Listing
        E.g. of folders, by `list_items`.
    settings : Settings
    report : callable
    decode : callable
        From a file's bytes to its pixels, as serving does it.

    Returns
    -------
    dict
        What is in ``report.json``.

    Raises
    ------
    BundleError, DataError, LeakageError
        With a sentence that says what is wrong.
    """
    bundle = load_bundle(settings.bundle)
    against = load_bundle(settings.against) if settings.against else None
    items, dropped = _fit_to_evaluate(listing, bundle, against, settings)
    try:
        settings.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{settings.out} cannot be made ({error.strerror}).") from error
    told = f"{bundle.version}: {len(items)} pictures of {len({i.group for i in items})} photographs"
    answers = _answers(bundle, items, report, settings, decode, told)
    known, unknown = by_knowledge(answers)
    report(len(items), len(items), "Measuring.")

    result = {
        "schema": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": settings.command,
        "seed": settings.seed,
        "model": _model(bundle),
        "data": _data(listing, items, dropped, settings)
        | {"named_like_training": len(named_alike(items, training_rows(bundle)))},
        "sets": _sets(known, listing, bundle, settings.seed) if known else [],
        "unknown_classes": unknown_classes(unknown, seed=settings.seed) if unknown else {},
        "explanation": _explanation(bundle, known, settings, decode) if known else None,
        "near_copies": near_copies(answers),
        "against": None,
    }
    if against is not None and known:
        theirs = _answers(against, items, report, settings, decode, against.version)
        result["against"] = {
            **_model(against),
            "sets": _compared(known, theirs, seed=settings.seed),
        }
    pictures = cut(bundle, *_of_mistakes(known or answers, result), decode=decode)
    (settings.out / "report.json").write_text(
        json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (settings.out / "report.html").write_text(render(result, pictures), encoding="utf-8")
    return result


def _fit_to_evaluate(
    listing: Listing, bundle: Bundle, against: Bundle | None, settings: Settings
) -> tuple[list[Item], int]:
    """The items that no model was trained on, and how many only the other was trained on."""
    manifest = training_rows(bundle)
    items = with_photographs(listing.items, manifest)
    if settings.held_back:
        # First without the siblings of what was trained on: a table may know of photographs
        # that training did not.
        seen = set(trained_on(items, manifest))
        items = held_back([item for item in items if item not in seen], manifest)
    check_unseen(items, manifest, version=bundle.version)
    if against is None:
        return items, 0
    theirs = training_rows(against)
    items = with_photographs(items, theirs)
    if not settings.held_back:
        check_unseen(items, theirs, version=against.version)
        return items, 0
    used = set(trained_on(items, theirs))
    left = [item for item in items if item not in used]
    if not left:
        raise DataError(
            f"All pictures that {bundle.version} held back were used to train {against.version}: "
            "the two cannot be compared on them."
        )
    return left, len(used)


def _answers(
    bundle: Bundle,
    items: Sequence[Item],
    report: Report,
    settings: Settings,
    decode: Decode,
    message: str,
) -> Answers:
    done = 0
    report(0, len(items), message)

    def advance() -> None:
        nonlocal done
        done += 1
        report(done, len(items), "")

    return answer(bundle, items, decode=decode, workers=settings.workers, advance=advance)


def _sets(known: Answers, listing: Listing, bundle: Bundle, seed: int) -> list[dict[str, Any]]:
    """Each data set by itself, then all together if there are several."""
    set_of = {row.sha256: row.dataset for row in training_rows(bundle)}
    unknown_to_training = set(bundle.card.dataset.get("groups_unknown", ()))
    told: list[dict[str, Any]] = []
    for dataset in sorted({item.dataset for item in known.items}):
        at = [index for index, item in enumerate(known.items) if item.dataset == dataset]
        without_cell = [item for item in known.without_cell if item.dataset == dataset]
        files = {item.sha256 for item in (*(known.items[index] for index in at), *without_cell)}
        # By the files that training knew, under whatever name: folders of two laboratories may
        # be called alike.
        homes = {set_of[sha] for sha in files if sha in set_of}
        split_by_photograph = not homes & unknown_to_training
        # Training's knowledge counts where it knows every file: see `with_photographs`.
        photographs_known = dataset not in listing.groups_unknown or (
            split_by_photograph and files <= set(set_of)
        )
        told.append(
            {
                "name": dataset,
                "what": standing(
                    in_training=bool(homes),
                    photographs_known=photographs_known and split_by_photograph,
                    same_name=dataset in set(set_of.values()),
                ),
                "photographs_known": photographs_known,
                **study(known.where(at), seed=seed, without_cell=without_cell),
            }
        )
        for row in told[-1]["mistakes"]:
            row["position"] = at[row["position"]]
    if len(told) > 1:
        whats, knowledge = ({one[key] for one in told} for key in ("what", "photographs_known"))
        told.append(
            {
                "name": POOLED,
                "what": whats.pop() if len(whats) == 1 else MIXTURE,
                "photographs_known": knowledge.pop() if len(knowledge) == 1 else None,  # of some
                **study(known, seed=seed, without_cell=known.without_cell),
                "mistakes": [],  # they are shown with their sets
            }
        )
    return told


def _explanation(
    bundle: Bundle, known: Answers, settings: Settings, decode: Decode
) -> dict[str, Any] | None:
    """Heat maps, measured on a draw of cells that is spread over photographs."""
    labels = known.labels
    right = np.flatnonzero(known.probabilities.argmax(axis=1) == labels)
    if not settings.explain or not len(right) or bundle.card.preprocessing.region == IMAGE:
        return None  # what is measured is how well a map meets the cell in the middle of its crop
    order = spread_over(known.groups, right, np.random.default_rng(settings.seed))
    drawn = known.where(order[: settings.explain])
    parameters = bundle.card.preprocessing
    return faithfulness(
        Engine(bundle),
        cut(bundle, drawn.items, drawn.boxes, decode=decode),
        drawn.labels,
        [box_in_crop(box, parameters) for box in drawn.boxes],
        drawn.groups,
        seed=settings.seed,
        at_most=settings.explain,
    )


def _compared(ours: Answers, theirs: Answers, *, seed: int) -> list[dict[str, Any]]:
    datasets = sorted({item.dataset for item in ours.items})
    names = [*datasets, POOLED] if len(datasets) > 1 else datasets
    told = []
    for name in names:
        at = [i for i, item in enumerate(ours.items) if name in {item.dataset, POOLED}]
        told.append({"name": name, **compared(ours.where(at), theirs, seed=seed)})
    return told


def _of_mistakes(known: Answers, result: dict[str, Any]) -> tuple[list[Item], list[Any]]:
    """Pictures and boxes of the mistakes of all sets, in their order."""
    at = [row.pop("position") for one in result["sets"] for row in one["mistakes"]]
    chosen = known.where(at)
    return chosen.items, chosen.boxes


def _model(bundle: Bundle) -> dict[str, Any]:
    card = bundle.card
    return {
        "version": card.version,
        "card_sha256": bundle.sha256,
        "created": card.created,
        "classes": list(card.classes),
        "network": card.network,
        "temperature": card.temperature,
        "thresholds": card.thresholds,
        "unfamiliarity": card.unfamiliarity,
        "training_known": bundle.training_known,
        "training_fingerprint": card.dataset.get("fingerprint"),
    }


def _data(listing: Listing, items: list[Item], dropped: int, settings: Settings) -> dict[str, Any]:
    return {
        "fingerprint": Listing(items, ()).fingerprint(),
        "pictures": count_by([item.stratum for item in items]),
        "photographs": count_by(
            [stratum for stratum, _ in {(item.stratum, item.group) for item in items}]
        ),
        "listed": len(listing.items),
        "held_back_only": settings.held_back,
        "left_out_for_the_other_model": dropped,
    }
