"""How often the verdict of a site's first day calls models of known worth fit, or not fit.

    python -m bench.first_day

A simulation, without pictures: cells of six classes are drawn with a confidence, and are answered
rightly as often as the model in question is. Every cell is a smear of its own. The figures are
those of `inference.ml.evaluation.local`, the rules those of `inference.sites.verdict`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.ml.data import Item
from inference.ml.engine import UNCERTAIN, UNFAMILIAR
from inference.ml.evaluation.answers import Answers
from inference.ml.evaluation.local import figures_from
from inference.ml.finder import Box
from inference.sites.verdict import Verdict, judge

CLASSES = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")
SHARES = (0.05, 0.1, 0.05, 0.25, 0.1, 0.45)
SIZES = (20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Model:
    """What a model does to cells that it does not flag, and to those that it does.

    Attributes
    ----------
    right, right_if_flagged : float
        Shares of right answers.
    confidence : float
        Mean of the cells that are not flagged.
    flagged : float
        Share of the cells.
    lost : str
        A class that it never recognises.
    """

    name: str
    right: float
    right_if_flagged: float
    confidence: float
    flagged: float
    lost: str = ""


MODELS = (
    Model("good: 98 % right", 0.98, 0.8, 0.98, 0.2),
    Model("fair: 93 % right", 0.93, 0.75, 0.93, 0.2),
    Model("at the limit: 85 % right", 0.85, 0.7, 0.85, 0.2),
    Model("bad: 75 % right", 0.75, 0.6, 0.75, 0.2),
    Model("bad and sure of itself: 75 % right, 95 % confident", 0.75, 0.6, 0.95, 0.2),
    Model("good, but never says monocyte", 0.98, 0.8, 0.98, 0.2, "monocyte"),
    Model("good, but flags 70 %", 0.98, 0.8, 0.98, 0.7),
)


def drawn(model: Model, cells: int, rng: np.random.Generator) -> Answers:
    """Answers of a model to so many cells."""
    labels = rng.choice(len(CLASSES), cells, p=SHARES)
    flagged = rng.random(cells) < model.flagged
    right = rng.random(cells) < np.where(flagged, model.right_if_flagged, model.right)
    if model.lost:
        right &= labels != CLASSES.index(model.lost)
    others = (labels + rng.integers(1, len(CLASSES), cells)) % len(CLASSES)
    spread = (1 - model.confidence) * rng.uniform(-1, 1, cells)
    confidence = np.where(flagged, rng.uniform(0.5, 0.9, cells), model.confidence + spread)
    rows = np.repeat(((1 - confidence) / (len(CLASSES) - 1))[:, None], len(CLASSES), axis=1)
    rows[np.arange(cells), np.where(right, labels, others)] = confidence
    items = [
        Item(Path(f"{at}.png"), "site", CLASSES[label], f"site:{at}", f"{at:064x}")
        for at, label in enumerate(labels)
    ]
    return Answers(
        items=items,
        without_cell=[],
        classes=CLASSES,
        probabilities=rows.astype(np.float32),
        flags={UNCERTAIN: flagged, UNFAMILIAR: np.zeros(cells, bool)},
        boxes=[Box(0, 0, 9, 9)] * cells,
        copies=[None] * cells,
        copies_unknown=(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    print("fit / not fit / too few, in %")
    print("| cells | " + " | ".join(map(str, SIZES)) + " |")
    for model in MODELS:
        told = []
        for cells in SIZES:
            rng = np.random.default_rng(cells)
            verdicts = Counter(
                judge(figures_from(drawn(model, cells, rng), seed=draw, resamples=300))["verdict"]
                for draw in range(options.draws)
            )
            order = (Verdict.FIT, Verdict.NOT_FIT, Verdict.UNKNOWN)
            told.append(" / ".join(f"{100 * verdicts[one] / options.draws:.0f}" for one in order))
        print(f"| {model.name} | " + " | ".join(told) + " |", flush=True)


if __name__ == "__main__":
    main()
