"""The page of a run: sums, throughput over time, a table of slides that pages through thousands."""

from itertools import pairwise
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    InlineStyleSheet,
    LayoutDOM,
    LinearAxis,
    Range1d,
)
from bokeh.models.widgets import Button, Div, RadioButtonGroup, TextInput
from bokeh.plotting import figure

from pipeline.run.watching.board import ProgressBoard, View
from pipeline.run.watching.pace import Sample
from pipeline.run.watching.render import stylesheet, summary, table

REFRESH_MS = 1000
PAGE_ROWS = 50
WIDTH_PX = 1240
VIEWS: tuple[View, ...] = ("now", "failed", "all")
_LABELS = ["Under way and recent", "Failed first", "All slides"]
_PIXELS, _CELLS, _QUIET, _LINE = "#0072b2", "#a15c00", "#56636f", "#dde3e8"


def fill_document(document: Document, *, board: ProgressBoard) -> None:
    """Fill the document of one browser window; it looks at the board each second."""
    document.title = "Ki-67 slides"
    page = _Page(board)
    document.add_root(page.layout)
    document.add_periodic_callback(page.refresh, REFRESH_MS)


class _Page:
    """What one browser window shows."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board, self._offset = board, 0
        style = InlineStyleSheet(css=stylesheet())
        # names come from files: no formula in them is to be typeset
        self._summary = Div(stylesheets=[style], disable_math=True, width=WIDTH_PX)
        self._table = Div(stylesheets=[style], disable_math=True, width=WIDTH_PX)
        self._where = Div(stylesheets=[style], disable_math=True, margin=(13, 8, 0, 8))
        self._samples = ColumnDataSource({"minutes": [], "mpx": [], "cells": []})
        self._plot, self._cells_range = _plot(self._samples)
        self._views = RadioButtonGroup(labels=_LABELS, active=0)
        self._words = TextInput(placeholder="find a slide", width=230)
        self._back, self._on = Button(label="‹", width=40), Button(label="›", width=40)
        self._views.on_change("active", self._from_the_start)
        self._words.on_change("value_input", self._from_the_start)
        self._back.on_click(lambda: self._turn(-PAGE_ROWS))
        self._on.on_click(lambda: self._turn(PAGE_ROWS))
        self.refresh()

    @property
    def layout(self) -> LayoutDOM:
        """All of the page."""
        tools = row(self._views, self._words, self._where, self._back, self._on)
        return column(
            self._summary,
            self._plot,
            tools,
            self._table,
            styles={"margin": "20px auto", "width": f"{WIDTH_PX}px"},
        )

    def refresh(self) -> None:
        """Show the board as it is now; what has not changed is not sent."""
        view, word = VIEWS[self._views.active or 0], str(self._words.value_input or "")
        rows, found = self._board.rows(view, containing=word, offset=self._offset, limit=PAGE_ROWS)
        _show(self._summary, summary(self._board))
        _show(self._table, table(rows, named=self._board.named))
        first = min(self._offset + 1, found)
        _show(
            self._where,
            f"<span class=quiet>{first:,}–{first - 1 + len(rows):,} of {found:,}</span>",
        )
        self._back.disabled = self._offset == 0
        self._on.disabled = self._offset + PAGE_ROWS >= found
        self._draw(self._board.history())

    def _from_the_start(self, _name: str, _old: Any, _new: Any) -> None:
        self._offset = 0
        self.refresh()

    def _turn(self, rows: int) -> None:
        self._offset = max(0, self._offset + rows)
        self.refresh()

    def _draw(self, history: list[Sample]) -> None:
        columns = throughput(history)
        if columns["minutes"] != self._samples.data["minutes"]:
            self._samples.data = columns
            self._cells_range.end = 1.15 * max([*columns["cells"], 1.0])


def throughput(history: list[Sample]) -> dict[str, list[float]]:
    """Mpx/s and cells/s between samples, at the minute each span ended.

    Spans are made of about a sixtieth of the run, so that single regions do not show as spikes.
    """
    step = max(1.0, (history[-1].at_s - history[0].at_s) / 60)
    ends = [history[0]]
    for sample in history[1:]:
        if sample.at_s - ends[-1].at_s >= step:
            ends.append(sample)
    spans = list(pairwise(ends))
    return {
        "minutes": [round(b.at_s / 60, 3) for _, b in spans],
        "mpx": [round((b.pixels - a.pixels) / 1e6 / (b.at_s - a.at_s), 4) for a, b in spans],
        "cells": [round((b.cells - a.cells) / (b.at_s - a.at_s), 2) for a, b in spans],
    }


def _plot(samples: ColumnDataSource) -> tuple[figure, Range1d]:
    """Two curves over the minutes of the run, each with its own axis."""
    pixels_range = DataRange1d(start=0)
    plot = figure(
        width=WIDTH_PX,
        height=210,
        toolbar_location=None,
        tools="",
        outline_line_color=None,
        margin=(10, 0, 6, 0),
        x_range=DataRange1d(start=0),
        y_range=pixels_range,
    )
    cells = Range1d(start=0, end=1)
    plot.extra_y_ranges = {"cells": cells}
    right = LinearAxis(y_range_name="cells", axis_label="cells/s", axis_label_text_color=_CELLS)
    plot.add_layout(right, "right")
    plot.yaxis[0].axis_label, plot.xaxis[0].axis_label = "Mpx/s", "minutes since the start"
    plot.yaxis[0].axis_label_text_color = _PIXELS
    plot.xgrid.grid_line_color, plot.ygrid.grid_line_color = None, "#ebeff2"
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_color = _QUIET
        axis.axis_line_color = axis.major_tick_line_color = _LINE
        axis.minor_tick_line_color = None
    pixels = plot.line("minutes", "mpx", source=samples, color=_PIXELS, line_width=2)
    pixels_range.renderers = [pixels]  # the other curve has an axis of its own
    plot.line(
        "minutes",
        "cells",
        source=samples,
        color=_CELLS,
        line_width=2,
        line_dash=[5, 3],
        y_range_name="cells",
    )
    return plot, cells


def _show(div: Div, text: str) -> None:
    if div.text != text:
        div.text = text
