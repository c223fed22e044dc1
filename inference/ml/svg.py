"""Plots as SVG that takes its colours and letters from the page around it. Needs matplotlib.

Styles are written as attributes, so that a page whose Content-Security-Policy forbids inline styles
shows them as well. The page gives ``--text``, ``--text-soft``, ``--line``, ``--accent``,
``--accent-soft`` and ``--series-1`` to ``--series-9``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Drawn in these colours, which are then replaced by the page's own: see `svg`.
INK, SOFT, LINE, ACCENT, WASH = "#1b1b26", "#55556a", "#d6d6e0", "#4a3f9f", "#ecebf8"
_TOKENS = {INK: "text", SOFT: "text-soft", LINE: "line", ACCENT: "accent", WASH: "accent-soft"}
SERIES = tuple(f"#0000{number:02d}" for number in range(1, 10))
_TOKENS |= {colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)}
STYLES = ("-", "--", ":", "-.")  # beside colour, so that the lines differ without it
_STYLE: Any = {
    "text.parse_math": False,  # a class may be called "a$b"
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


def svg(
    draw: Callable[..., None],
    name: str,
    *,
    rows: tuple[float, ...] = (1,),
    size: tuple[float, float] = (5, 3.6),
) -> str:
    """Draw, and name the page's colours where ours stand.

    Parameters
    ----------
    draw : callable
        Takes the axes, one for each row.
    name : str
        The same name and drawing give the same text.
    rows : tuple of float
        Relative heights of axes above each other, which share the horizontal one.
    size : tuple of float
        Width and height; only their relation matters to a page.
    """
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(*figure.subplots(len(rows), sharex=True, squeeze=False, height_ratios=rows)[:, 0])
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = text.replace("<svg", '<svg stroke-linejoin="round" stroke-linecap="butt"', 1)
    text = re.sub(r' style="([^"]*)"', lambda match: _attributes(match[1]), text)
    text = re.sub(r' font-family="[^"]*"', "", text)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", text)
    for colour, token in _TOKENS.items():
        text = text.replace(colour, f"var(--{token})")
    return text


def percent(axes: Axes, which: str) -> None:
    """Write the numbers of the axes ``x``, ``y`` or ``xy`` as percentages."""
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))


def _attributes(style: str) -> str:
    """A style's declarations as attributes; of a font only its size."""
    written = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            name, value = "font-size", value.split("px")[0].split()[-1]
        if name:
            written.append(f' {name}="{value}"')
    return "".join(written)
