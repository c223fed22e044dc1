"""Does the model know what it does not know? Three scores on cells and things of many kinds.

    python -m bench.unfamiliar inference/bundles/default ../shared/data [--photographs FOLDER]

Home is the test side of the data sets that the bundle was trained on; each score flags at
most 2 % of the validation side's cells. Of whole pictures the cells are judged that the
finder finds in them ("found"), and a box in the middle as a person might draw it ("by hand").
Data sets that the bundle was never trained on are other laboratories: are their cells
flagged more often where the model is wrong? No photograph gives more than eight cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from bench import strange
from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.calibrate import balanced_weights
from inference.ml.data import Item, cut_crops, list_items
from inference.ml.engine import Engine, softmax
from inference.ml.finder import Box, find_cells
from inference.ml.last_layer import fit_head
from inference.ml.preprocess import crop_cell, prepare
from inference.ml.sidecar import (
    TRAIN,
    VALIDATION,
    Head,
    TrainingFeatures,
    kept_rows,
    read_manifest,
)
from inference.ml.smear import make_smear
from inference.ml.unfamiliar import NEIGHBOURS, Neighbours, threshold_of

Floats = NDArray[np.floating]
Score = Callable[[Floats], Floats]
SETS = ("bccd/TRAIN", "pbc")
GROUPS = "bccd/source_photographs.csv"


@dataclass(frozen=True, slots=True)
class Cells:
    """Crops (N, S, S, 3), what the network makes of them (N, D), and their items."""

    crops: NDArray[np.uint8]
    features: Floats
    items: list[Item]

    def where(self, chosen: NDArray[np.bool_]) -> Cells:
        items = [item for item, fits in zip(self.items, chosen, strict=True) if fits]
        return Cells(self.crops[chosen], self.features[chosen], items)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="folder with bccd, pbc and bccd_fields")
    parser.add_argument("--photographs", type=Path, help="folder of everyday photographs")
    parser.add_argument("--pictures", type=int, default=100, help="of each kind that is made")
    options = parser.parse_args()

    engine = Engine(load_bundle(options.bundle), threads=2)
    kept = TrainingFeatures.load(engine.bundle.features_path)
    home, away = home_and_away(engine, options.data)
    scores = scores_of(kept, engine.head, NEIGHBOURS)
    limits = {name: limit_of(score, kept) for name, score in scores.items()}
    near = {name: score(home.features) for name, score in scores.items()}

    print(f"{engine.bundle.version}: {len(kept.of_side(TRAIN))} references, home {len(home.items)}")
    print(f"{'':34}{'cells':>6}" + "".join(f"{name:>22}" for name in scores))
    print(f"{'':34}{'':6}" + f"{'AUROC':>12}{'flagged':>10}" * len(scores))
    line("home, held back", len(home.items), {name: (None, near[name]) for name in near}, limits)
    for name, features in strange_cells(engine, home, options):
        if len(features):
            far = {key: score(features) for key, score in scores.items()}
            line(name, len(features), {key: (near[key], far[key]) for key in far}, limits)
    left_out(kept, home, engine)
    for dataset in sorted({item.dataset for item in away.items}):
        chosen = np.array([item.dataset == dataset for item in away.items])
        other_laboratory(dataset, away.where(chosen), engine, scores, limits)


def home_and_away(engine: Engine, data: Path) -> tuple[Cells, Cells]:
    """Cells of the bundle's test side, and those of data sets of which it saw nothing."""
    listing = list_items([data / name for name in SETS], [data / GROUPS])
    sides = {row.sha256: row.side for row in read_manifest(engine.bundle.manifest_path)}
    known = {item.dataset for item in listing.items if item.sha256 in sides}
    test = [item for item in listing.items if sides.get(item.sha256) == "test"]
    foreign = [item for item in listing.items if item.dataset not in known]
    if not test:
        raise SystemExit(f"{data} has no picture of the bundle's test side.")
    return cells_of(test, engine), cells_of(foreign, engine)


def cells_of(items: list[Item], engine: Engine) -> Cells:
    rows = kept_rows(
        [item.group for item in items],
        [item.label for item in items],
        [item.sha256 for item in items],
    )
    chosen = [items[row] for row in rows]
    crops, found = cut_crops(chosen, engine.bundle.card.preprocessing, decode=decode)
    return Cells(crops, engine.features(crops), [chosen[at] for at in found])


def scores_of(kept: TrainingFeatures, head: Head, neighbours: int) -> dict[str, Score]:
    """The score that is served and its peers; of each, more is stranger."""
    train = kept.of_side(TRAIN)
    near = Neighbours(train.features, neighbours)

    def energy(features: Floats) -> Floats:
        logits = head.logits(features.astype(np.float32)).astype(np.float64)
        top = logits.max(axis=1)
        return np.asarray(-(top + np.log(np.exp(logits - top[:, None]).sum(axis=1))))

    def confidence(features: Floats) -> Floats:
        return np.asarray(1 - softmax(head.logits(features.astype(np.float32))).max(axis=1))

    return {
        "cosine, nearest": near.distances,
        "Mahalanobis": mahalanobis(train),
        "energy": energy,
        "1 - confidence": confidence,
    }


def mahalanobis(train: TrainingFeatures) -> Score:
    """Distance to the nearest class mean, by the classes' common, shrunk covariance.

    References
    ----------
    Lee et al.: A simple unified framework for detecting out-of-distribution samples and
    adversarial attacks. NeurIPS 2018. Ledoit, Wolf: A well-conditioned estimator for
    large-dimensional covariance matrices. J. Multivariate Analysis 88 (2004) 365-411.
    """
    features = train.features.astype(np.float64)
    means = np.array([features[train.labels == label].mean(axis=0) for label in set(train.labels)])
    of_class = np.array([features[train.labels == label].mean(axis=0) for label in train.labels])
    precision = LedoitWolf(assume_centered=True).fit(features - of_class).precision_

    def distance(cells: Floats) -> Floats:
        gaps = [cells.astype(np.float64) - mean for mean in means]
        squares = [np.einsum("nd,nd->n", gap @ precision, gap) for gap in gaps]
        return np.asarray(np.sqrt(np.min(squares, axis=0)))

    return distance


def limit_of(score: Score, kept: TrainingFeatures) -> float:
    """The threshold that validation cells set, as in training."""
    held_back = kept.of_side(VALIDATION)
    weights = balanced_weights(held_back.groups.tolist(), held_back.datasets.tolist())
    return threshold_of(score(held_back.features.astype(np.float32)), weights)


def line(
    name: str,
    cells: int,
    both: Mapping[str, tuple[Floats | None, Floats]],
    limits: dict[str, float],
) -> None:
    told = ""
    for key, (near, far) in both.items():
        told += f"{auroc(near, far):12.4f}" if near is not None else f"{'':12}"
        told += f"{100 * (far > limits[key]).mean():9.1f}%"
    print(f"{name:34}{cells:6}{told}")


def auroc(near: Floats, far: Floats) -> float:
    """Chance that something strange lies farther than a cell of home."""
    if not (len(near) and len(far)):
        return float("nan")
    truth = np.repeat([0, 1], [len(near), len(far)])
    return float(roc_auc_score(truth, np.concatenate([near, far])))


def strange_cells(
    engine: Engine, home: Cells, options: argparse.Namespace
) -> Iterator[tuple[str, Floats]]:
    """Features of each set that is made, with what to call it."""
    parameters = engine.bundle.card.preprocessing
    kinds = strange.pictures(options.pictures)
    if options.photographs and options.photographs.is_dir():
        kinds["photographs"] = strange.photographs(options.photographs)
    else:
        print("photographs: left out, since --photographs names no folder")
    for name, pictures in kinds.items():
        boxes = [[cell.box for cell in find_cells(picture)] for picture in pictures]
        empty = sum(not found for found in boxes)
        yield (
            f"{name}, found ({empty} of {len(pictures)} none)",
            features_in(engine, pictures, boxes),
        )
        by_hand = [[strange.middle_box(picture)] for picture in pictures]
        yield f"{name}, by hand", features_in(engine, pictures, by_hand)
    some = home.crops[:: max(1, len(home.crops) // 400)]
    red = strange.red_cells(options.data / "bccd_fields", parameters, 400)
    yield "red cells", engine.features(red)
    yield "hue turned", engine.features(strange.recoloured(some))
    yield "heavily blurred", engine.features(strange.blurred(some))
    smears = [make_smear(seed) for seed in range(options.pictures)]
    images = [smear.image for smear in smears]
    yield "synthetic smear cells", features_in(engine, images, [smear.boxes for smear in smears])


def features_in(
    engine: Engine, pictures: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[Box]]
) -> Floats:
    """Features of the boxes of pictures."""
    parameters = engine.bundle.card.preprocessing
    crops = [
        crop_cell(prepare(picture, parameters), box, parameters)
        for picture, of_picture in zip(pictures, boxes, strict=True)
        for box in of_picture
    ]
    return engine.features(np.array(crops)) if crops else np.empty((0, 0), np.float32)


def left_out(kept: TrainingFeatures, home: Cells, engine: Engine) -> None:
    """Each class in turn as if it had never been seen by the last layer and the references.

    The layers before it have seen it, so this is easier than a class that is really new.
    """
    classes = engine.bundle.classes
    of_home = np.array([classes.index(item.label) for item in home.items])
    for index, name in enumerate(classes):
        rest = kept.where(kept.labels != index)
        labels = np.unique(rest.labels, return_inverse=True)[1]
        train = rest.sides == TRAIN
        head = fit_head(rest.features[train], labels[train], classes=len(classes) - 1)
        scores = scores_of(rest, head, NEIGHBOURS)
        both = {
            key: (score(home.features[of_home != index]), score(home.features[of_home == index]))
            for key, score in scores.items()
        }
        limits = {key: limit_of(score, rest) for key, score in scores.items()}
        line(f"left out: {name}", int((of_home == index).sum()), both, limits)


def other_laboratory(
    dataset: str,
    cells: Cells,
    engine: Engine,
    scores: dict[str, Score],
    limits: dict[str, float],
) -> None:
    """Whether strange cells are the ones that the model gets wrong."""
    classes = engine.bundle.classes
    taught = np.array([item.label in classes for item in cells.items])
    for name in sorted({item.label for item in cells.items} - set(classes)):
        chosen = np.array([item.label == name for item in cells.items])
        far = {key: score(cells.features[chosen]) for key, score in scores.items()}
        told = ", ".join(f"{key} {100 * (far[key] > limits[key]).mean():.1f} %" for key in far)
        print(f"{dataset}, never taught {name} ({chosen.sum()}), flagged: {told}")
    cells = cells.where(taught)
    labels = np.array([classes.index(item.label) for item in cells.items])
    probabilities = softmax(
        engine.head.logits(cells.features.astype(np.float32))
        / np.float32(engine.bundle.card.temperature)
    )
    answers = probabilities.argmax(axis=1)
    right = answers == labels
    least = np.array([engine.bundle.card.thresholds[name] for name in classes])
    certain = probabilities.max(axis=1) >= least[answers]
    print(f"{dataset}, another laboratory: {len(labels)} cells, accuracy {share(right)}")
    for key, score in scores.items():
        distance = score(cells.features)
        flagged = distance > limits[key]
        both = ~flagged & certain
        fifths = np.array_split(right[np.argsort(distance, kind="stable")], 5)
        print(
            f"  {key}: flagged {share(flagged)}; of wrong {share(flagged[~right])}, of right "
            f"{share(flagged[right])}; accuracy of unflagged {share(right[~flagged])}, "
            f"also certain {share(right[both])} of {share(both)}; AUROC for wrong answers "
            f"{auroc(distance[right], distance[~right]):.3f}; accuracy by fifths from near to far "
            + " ".join(share(fifth) for fifth in fifths)
        )


def share(of: NDArray[np.bool_]) -> str:
    return f"{100 * of.mean():.1f} %" if len(of) else "-"


if __name__ == "__main__":
    main()
