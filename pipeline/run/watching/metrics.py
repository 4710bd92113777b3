"""The sums of a run for Prometheus: never a slide, a name or a path as a label."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.run.watching.board import ProgressBoard

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class BoardMetrics(Collector):
    """Reads the board whenever it is asked."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Give each metric with its value now; one that is not known yet is left out."""
        totals = self._board.totals()
        slides = GaugeMetricFamily("ki67_slides", "Slides of the run by state.", labels=["state"])
        for state, number in totals.slides.items():
            slides.add_metric([state], number)
        yield slides
        stages = CounterMetricFamily(
            "ki67_stage_seconds", "Seconds of all tasks by stage.", labels=["stage"]
        )
        for stage, seconds in totals.stage_seconds.items():
            stages.add_metric([stage], seconds)
        yield stages
        counters = {
            "ki67_regions": ("Regions predicted by this run.", totals.regions_here),
            "ki67_tiles": ("Tiles of those regions.", totals.tiles),
            "ki67_unreadable_tiles": ("Tiles that could not be read.", totals.unreadable),
            "ki67_pixels": ("Pixels predicted, at the model's resolution.", totals.pixels),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value=value)
        gauges: dict[str, tuple[str, float | None]] = {
            "ki67_cells": ("Cells found so far.", totals.cells),
            "ki67_slide_failures": ("Slides without a result.", totals.slides_failed),
            "ki67_regions_planned": ("Regions of all slides planned.", totals.regions_planned),
            "ki67_regions_left": (
                "Regions planned and not done.",
                totals.regions_planned - totals.regions_done,
            ),
            "ki67_workers": ("Workers that are there.", totals.workers),
            "ki67_run_seconds": ("Since the run began.", totals.seconds),
            "ki67_run_quiet_seconds": ("Since a region or slide was done.", totals.quiet_s),
            "ki67_run_eta_seconds": ("Until the batch is done, estimated.", totals.eta_s),
            "ki67_run_started_timestamp_seconds": (
                "When the run began.",
                totals.started.timestamp(),
            ),
        }
        for name, (text, known) in gauges.items():
            if known is not None:
                yield GaugeMetricFamily(name, text, value=known)


def exposition(board: ProgressBoard) -> bytes:
    """Give the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BoardMetrics(board))
    return generate_latest(registry)
