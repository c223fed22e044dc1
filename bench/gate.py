"""How often the gate lets through candidates that are as good as the model in use, or worse.

    python -m bench.gate

A simulation, without pictures: the model in use gets 90 % of the photographs right, of four
classes with 10, 15, 25 and 50 % of them. The checks are those of `inference.ml.evaluation.gate`
that rest on figures: "classes" and "not worse".
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from inference.ml.data import Item
from inference.ml.evaluation import gate
from inference.ml.evaluation.intervals import Floats

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
SHARES = (0.1, 0.15, 0.25, 0.5)
SIZES = (20, 50, 100, 200, 500)
BASELINE = 0.9


@dataclass(frozen=True)
class Candidate:
    """How it differs from the model in use.

    Attributes
    ----------
    lost, won : float
        Share of what that gets right and this does not; of what that gets wrong, and this right.
    blind : float
        Share of the first class that it misses beyond that.
    """

    name: str
    lost: float
    won: float
    blind: float = 0.0


CANDIDATES = (
    Candidate("the same answers", 0.0, 0.0),
    Candidate("as good, other answers to 4 %", 0.02, 0.18),
    Candidate("as good, other answers to 9 %", 0.05, 0.45),
    Candidate("2 points worse", 0.045, 0.2),
    Candidate("5 points worse", 0.075, 0.175),
    Candidate("10 points worse", 0.13, 0.17),
    Candidate("20 points worse", 0.24, 0.16),
    Candidate("as good, but misses half of a class with 10 %", 0.02, 0.18, 0.5),
)


def passes(candidate: Candidate, photographs: int, rng: np.random.Generator) -> bool:
    labels = rng.choice(len(CLASSES), photographs, p=SHARES)
    before = rng.random(photographs) < BASELINE
    after = rng.random(photographs) < np.where(before, 1 - candidate.lost, candidate.won)
    after &= (labels != 0) | (rng.random(photographs) >= candidate.blind)
    items = [
        Item(Path(), "set", CLASSES[label], f"set:{at}", str(at)) for at, label in enumerate(labels)
    ]
    pair = gate._Pair(items, [*CLASSES, ""], _rows(labels, after), _rows(labels, before))
    figures = pair.figures(seed=0)
    either: Any = SimpleNamespace(classes=CLASSES, version="model")
    checks = gate._classes(either, either, figures["classes"]), gate._not_worse(figures["paired"])
    return all(check.passed for check in checks)


def _rows(labels: np.ndarray, right: np.ndarray) -> Floats:
    answers = np.where(right, labels, (labels + 1) % len(CLASSES))
    return np.eye(len(CLASSES) + 1)[answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    print("let through, in %, by photographs")
    print("| photographs | " + " | ".join(map(str, SIZES)) + " |")
    for candidate in CANDIDATES:
        told = []
        for photographs in SIZES:
            rng = np.random.default_rng(photographs)
            let = [passes(candidate, photographs, rng) for _ in range(options.draws)]
            told.append(f"{100 * np.mean(let):.0f}")
        print(f"| {candidate.name} | " + " | ".join(told) + " |", flush=True)


if __name__ == "__main__":
    main()
