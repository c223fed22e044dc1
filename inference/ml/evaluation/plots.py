"""Drawings of the report: SVG that takes its colours and letters from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Drawn in these colours, which are then replaced by the page's own: see `_svg`.
INK, SOFT, LINE, ACCENT, WASH = "#1b1b26", "#55556a", "#d6d6e0", "#4a3f9f", "#ecebf8"
_TOKENS = {INK: "text", SOFT: "text-soft", LINE: "line", ACCENT: "accent", WASH: "accent-soft"}
_SERIES = tuple(f"#0000{number:02d}" for number in range(1, 10))
_TOKENS |= {colour: f"series-{number}" for number, colour in enumerate(_SERIES, 1)}
_STYLES = ("-", "--", ":", "-.")  # beside colour, so that the lines differ without it
_STYLE: Any = {
    "svg.fonttype": "none",  # letters stay letters: they can be read aloud, found and copied
    "font.size": 10,
    "text.color": SOFT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


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
        _percent(upper, "y")
        _percent(lower, "xy")

    return _svg(draw, "reliability", rows=(3, 1))


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
        _percent(axes, "xy")

    return _svg(draw, "risk-coverage")


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
                color=_SERIES[number % len(_SERIES)],
                linestyle=_STYLES[number % len(_STYLES)],
                label=name,
            )
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-0.01, 1.01), ylim=(0, 1.02))
        axes.legend(loc="lower right" if kind == "roc" else "lower left", fontsize=9)
        _percent(axes, "xy")

    return _svg(draw, kind)


def deletion_insertion(explanation: Mapping[str, Any], kind: str) -> str:
    """A class's probability while the hottest pixels are covered, or uncovered, first."""

    def draw(axes: Axes) -> None:
        for number, (name, figures) in enumerate(explanation["maps"].items()):
            axes.plot(
                explanation["shares"],
                figures[kind]["curve"],
                color=(ACCENT, SOFT, INK)[number % 3],
                linestyle=_STYLES[number % len(_STYLES)],
                label=name,
            )
        what = "covered" if kind == "deletion" else "uncovered"
        axes.set(xlabel=f"pixels {what}, hottest first", ylabel="probability of the class")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper right" if kind == "deletion" else "lower right", fontsize=9)
        _percent(axes, "xy")

    return _svg(draw, kind)


def _percent(axes: Axes, which: str) -> None:
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))


def _svg(draw: Callable[..., None], name: str, *, rows: tuple[int, ...] = (1,)) -> str:
    """Draw, and name the page's colours where ours stand."""
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        draw(*figure.subplots(len(rows), sharex=True, squeeze=False, height_ratios=rows)[:, 0])
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, token in _TOKENS.items():
        text = text.replace(colour, f"var(--{token})")
    return text
