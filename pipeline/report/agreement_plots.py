"""Plots of a comparison with manual scores: scatter, Bland-Altman, coefficients side by side."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.agreement import RELATIVE_MARGIN, Comparison
from pipeline.core.reliability import Estimate

INK, QUIET, LINE = "#1d2733", "#5d6b7a", "#c3ccd6"
FIRST, SECOND = "#0072b2", "#d55e00"  # of Okabe and Ito: told apart with any colour vision
DOTS_PER_INCH = 120
PLAIN_TEXT: Any = {"text.parse_math": False}
"""A dollar sign in a reader's name is a dollar sign."""


def draw_comparison(comparison: Comparison) -> bytes:
    """Draw a PNG: left the two raters' indices, right their difference over their mean."""
    with rc_context(PLAIN_TEXT):
        figure = Figure(figsize=(10.6, 4.9), dpi=DOTS_PER_INCH, layout="constrained")
        left, right = figure.subplots(1, 2)
        _scatter(left, comparison)
        _bland_altman(right, comparison)
        return _png(figure)


def draw_coefficients(comparisons: Sequence[Comparison]) -> bytes:
    """Draw a PNG: ICC(2,1) of every pair with its interval, pairs with the pipeline first."""
    shown = [one for one in comparisons if one.icc_agreement.value is not None]
    with rc_context(PLAIN_TEXT):
        size = 10.6, 1.3 + 0.38 * len(shown)
        figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
        _coefficients(figure.subplots(), shown, comparisons[0].first)
        return _png(figure)


def _coefficients(axes: Axes, shown: Sequence[Comparison], machine: str) -> None:
    lowest = 0.0
    for place, one in enumerate(shown):
        value = one.icc_agreement.value
        if value is None:
            continue
        colour = FIRST if one.first == machine else SECOND
        interval = one.icc_agreement.interval95
        if interval:
            axes.plot(interval, [place, place], color=colour, linewidth=2.4)
            lowest = min(lowest, interval[0])
        axes.plot([value], [place], "o", color=colour, markersize=7)
    axes.set_yticks(range(len(shown)), [f"{one.first} – {one.second}" for one in shown])
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    axes.set_xlim(max(-1.0, lowest) - 0.02, 1.02)
    axes.set_xlabel("ICC(2,1) with 95 % interval; blue: with the pipeline, orange: between readers")
    _plain(axes)
    axes.grid(axis="x", color=LINE, linewidth=0.6)


def _scatter(axes: Axes, one: Comparison) -> None:
    top = _round_up(max(float(one.first_pct.max()), float(one.second_pct.max())))
    ends = np.array([0.0, top])
    axes.fill_between(
        ends,
        ends * (1 - RELATIVE_MARGIN),
        ends * (1 + RELATIVE_MARGIN),
        color="#e8eef5",
        label=f"within {100 * RELATIVE_MARGIN:g} % of {one.second}",
    )
    axes.plot(ends, ends, color=QUIET, linewidth=1, label="equal")
    for entry in one.by_cutoff:
        if entry.cutoffs_pct[0] < top:
            axes.axhline(entry.cutoffs_pct[0], color=LINE, linewidth=0.7, zorder=0.5)
            axes.axvline(entry.cutoffs_pct[0], color=LINE, linewidth=0.7, zorder=0.5)
    axes.plot(one.second_pct, one.first_pct, "o", color=FIRST, alpha=0.7, markersize=5, mew=0)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{one.second}, Ki-67 index, %")
    axes.set_ylabel(f"{one.first}, Ki-67 index, %")
    axes.set_title(
        f"n = {len(one.slides)}   {_words('ICC(2,1)', one.icc_agreement)}", fontsize=10, color=INK
    )
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    _plain(axes)


def _bland_altman(axes: Axes, one: Comparison) -> None:
    mean, difference = (one.first_pct + one.second_pct) / 2, one.first_pct - one.second_pct
    right = _round_up(float(mean.max()))
    named = (("bias", one.limits.bias), ("lower limit", one.limits.lower))
    for name, line in (*named, ("upper limit", one.limits.upper)):
        if line.value is None:
            continue
        colour = SECOND if name == "bias" else QUIET
        if line.interval95:
            axes.axhspan(*line.interval95, color=colour, alpha=0.13, linewidth=0)
        style = "-" if name == "bias" else "--"
        axes.axhline(line.value, color=colour, linewidth=1.2, linestyle=style)
        axes.annotate(
            f"{name} {line.value:+.1f}",
            (1.0, line.value),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            horizontalalignment="right",
            fontsize=8,
            color=colour,
        )
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.plot(mean, difference, "o", color=FIRST, alpha=0.7, markersize=5, mew=0)
    axes.set_xlim(0, right)
    axes.margins(y=0.12)
    axes.set_xlabel("mean of the two, %")
    axes.set_ylabel(f"{one.first} minus {one.second}, points")
    axes.set_title("Differences; bands: 95 % intervals of the lines", fontsize=10, color=INK)
    _plain(axes)


def _words(name: str, value: Estimate) -> str:
    if value.value is None:
        return f"{name} not given"
    if value.interval95 is None:
        return f"{name} {value.value:.2f}"
    return f"{name} {value.value:.2f} [{value.interval95[0]:.2f}, {value.interval95[1]:.2f}]"


def _round_up(value: float) -> float:
    return min(100.0, max(5.0, float(np.ceil(value * 1.06 / 5) * 5)))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # no name and version of the library: the same figure is the same bytes
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
