"""Fields of BCCD that were photographed twice: on which sides of a bundle's split they lie, and
its figures on the held-back photographs with and without those whose twin it was made with.

    python -m bench.taken_twice inference/bundles/default ../shared/data/bccd

The pairs were found by `python -m bench.alike` and confirmed by eye; see docs/datasets.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.data import list_items
from inference.ml.evaluation.answers import Answers, answer
from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.intervals import Figure
from inference.ml.evaluation.leakage import HELD_BACK, held_back
from inference.ml.sidecar import read_manifest

DATASET = "bccd/TRAIN"
PAIRS = (
    ("00037", "00038"),
    ("00229", "00258"),
    ("00382", "00395"),
    ("00227", "00260"),
    ("00231", "00256"),
    ("00386", "00391"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="folder of BCCD, with source_photographs.csv")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    manifest = read_manifest(bundle.manifest_path)
    sides = {row.group.rpartition("_")[2]: row.side for row in manifest if row.dataset == DATASET}
    leaked = set()
    for pair in PAIRS:
        print(", ".join(f"{name} {sides[name]}" for name in pair))
        tested = [name for name in pair if sides[name] == HELD_BACK]
        if len(tested) == 1:
            leaked.update(tested)
    listing = list_items([options.data / "TRAIN"], [options.data / "source_photographs.csv"])
    answers = answer(bundle, held_back(listing.items, manifest), decode=decode)
    is_leaked = [group.rpartition("_")[2] in leaked for group in answers.groups]
    tell("all that was held back", answers)
    tell("without those", answers.where([at for at, one in enumerate(is_leaked) if not one]))
    tell("those alone", answers.where([at for at, one in enumerate(is_leaked) if one]))


def tell(name: str, answers: Answers) -> None:
    if not answers.items:
        print(f"{name}: none")
        return
    figures = evaluate(
        answers.probabilities, answers.labels, answers.groups, answers.classes, seed=0
    )
    whole = figures["by_photograph"]
    neutrophils = figures["classes"].get("neutrophil")
    print(f"{name}: {figures['images']} pictures of {figures['photographs']} photographs")
    print(f"  by picture {told(figures['accuracy'])}, macro {told(figures['balanced_accuracy'])}")
    print(f"  by photograph {whole['right']} of {whole['photographs']}, {told(whole)}")
    if neutrophils:
        print(f"  recall of neutrophils {told(neutrophils['recall'])}")


def told(figure: Figure) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    main()
