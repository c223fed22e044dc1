"""Drawings of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from inference.ml.svg import ACCENT, INK, LINE, SERIES, SOFT, STYLES, WASH, percent, svg


def reliability(rows: Sequence[Mapping[str, Any]]) -> str:
    """How often answers of a confidence are right, and how many answers have it."""

    def draw(upper: Axes, lower: Axes) -> None:
        upper.plot([0, 1], [0, 1], color=LINE, linestyle="--")
        for row in rows:
            low, high = row["accuracy"]["interval"]
            upper.plot([row["mean_confidence"]] * 2, [low, high], color=ACCENT, alpha=0.35)
        upper.plot(
            [row["mean_confidence"] for row in rows],
            [row["accuracy"]["value"] for row in rows],
            "o-",
            color=ACCENT,
            markersize=5,
        )
        upper.set(ylabel="right", ylim=(0, 1.02))
        counts = [row["accuracy"]["images"] for row in rows]
        shares = [count / sum(counts) for count in counts]
        middles = [(row["from"] + row["to"]) / 2 for row in rows]
        lower.bar(middles, shares, width=1 / 16, color=ACCENT, alpha=0.5)
        lower.set(xlabel="confidence", ylabel="of answers", xlim=(0, 1.02))
        percent(upper, "y")
        percent(lower, "xy")

    return svg(draw, "reliability", rows=(3, 1))


def risk_coverage(selective: Mapping[str, Any]) -> str:
    """Error among the answers that are believed, over how many those are."""

    def draw(axes: Axes) -> None:
        steps = [step for step in selective["steps"] if step["risk"]["value"] is not None]
        across = [step["coverage"] for step in steps]
        bounds = [step["risk"]["interval"] for step in steps]
        axes.fill_between(
            across, [low for low, _ in bounds], [high for _, high in bounds], color=WASH
        )
        coverage, risk = zip(*selective["curve"], strict=True)
        axes.plot(coverage, risk, color=ACCENT, label="by confidence alone")
        for (name, figures), marker in zip(selective["flags"].items(), "os^", strict=False):
            if figures["risk"]["value"] is not None:
                axes.plot(
                    figures["coverage"]["value"],
                    figures["risk"]["value"],
                    marker,
                    color=INK,
                    markersize=6,
                    label=f"not {name}" if name != "any" else "not flagged at all",
                )
        top = max(0.05, 1.25 * max(risk), *(bounds[-1][1:]))
        axes.set(xlabel="answers believed", ylabel="wrong among them")
        axes.set(xlim=(0, 1.02), ylim=(0, min(1, top)))
        axes.legend(loc="upper left", fontsize=9)
        percent(axes, "xy")

    return svg(draw, "risk-coverage")


def class_curves(curves: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    """ROC or precision-recall curves, one for each class against all others."""
    labels = {
        "roc": ("false positives", "true positives"),
        "precision_recall": ("recall", "precision"),
    }[kind]

    def draw(axes: Axes) -> None:
        for number, (name, curve) in enumerate(curves.items()):
            across, up = zip(*curve[kind], strict=True)
            axes.plot(
                across,
                up,
                color=SERIES[number % len(SERIES)],
                linestyle=STYLES[number % len(STYLES)],
                label=name,
            )
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-0.01, 1.01), ylim=(0, 1.02))
        axes.legend(loc="lower right" if kind == "roc" else "lower left", fontsize=9)
        percent(axes, "xy")

    return svg(draw, kind)


def deletion_insertion(explanation: Mapping[str, Any], kind: str) -> str:
    """A class's probability while the hottest pixels are covered, or uncovered, first."""

    def draw(axes: Axes) -> None:
        for number, (name, figures) in enumerate(explanation["maps"].items()):
            axes.plot(
                explanation["shares"],
                figures[kind]["curve"],
                color=(ACCENT, SOFT, INK)[number % 3],
                linestyle=STYLES[number % len(STYLES)],
                label=name,
            )
        what = "covered" if kind == "deletion" else "uncovered"
        axes.set(xlabel=f"pixels {what}, hottest first", ylabel="probability of the class")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper right" if kind == "deletion" else "lower right", fontsize=9)
        percent(axes, "xy")

    return svg(draw, kind)
