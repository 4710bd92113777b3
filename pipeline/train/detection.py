"""What a model, or the classical detector, finds on fields: all candidates and the threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.localizing import PostKind
from pipeline.errors import AnnotationError
from pipeline.model.card import load_card
from pipeline.model.zoo import resolve_model
from pipeline.train.evaluate import FoundCells
from pipeline.train.fields import UNCLASSED, Field
from pipeline.train.prediction import model_candidates

CLASSICAL = "classical"
"""Stands for the detector without a network."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """Candidates of one detector on a row of fields.

    Attributes
    ----------
    model
        Its name, without any folder.
    threshold
        From which score a candidate is a cell; None where there are no scores.
    floor
        Candidates below it were not kept; None where there are no scores.
    classed
        Whether the detector tells positive from negative.
    candidates
        One per field, in the field's pixels.
    """

    model: str
    threshold: float | None
    floor: float | None
    classed: bool
    candidates: tuple[FoundCells, ...]

    @property
    def found(self) -> list[FoundCells]:
        """Cells: the candidates that reach the threshold."""
        return [cells.reaching(self.threshold) for cells in self.candidates]

    def at(self, threshold: float | None) -> "Detection":
        """The same candidates under another threshold; None changes nothing.

        Raises
        ------
        AnnotationError
            The threshold is below the floor: candidates that it needs were not kept.
        """
        if threshold is None:
            return self
        if self.floor is None or threshold < self.floor:
            raise AnnotationError(
                f"threshold={threshold:g}: {self.model} kept candidates from "
                f"{'no score' if self.floor is None else format(self.floor, 'g')} on; choose "
                "another, or run the model again"
            )
        return replace(self, threshold=threshold)


def detect(
    model: str,
    fields: Sequence[Field],
    *,
    threshold: float | None = None,
    post: PostKind | None = None,
    threads: int = 1,
    device: str = "cpu",
    on_field: Callable[[Field], None] | None = None,
) -> Detection:
    """Find the cells of fields with a model (a name or a folder) or with ``classical``.

    Parameters
    ----------
    threshold
        None takes the model card's; with another rule than the card's, the published one if it is
        part of that rule.
    post
        How cells are read from the heatmap; None takes the model card's.
    on_field
        Called after each field.

    Raises
    ------
    AnnotationError
        A field has no pixels: only its points are known.
    """
    _refuse_blank(fields)
    if model == CLASSICAL:
        found = [_told(_classical_cells(field), field, on_field) for field in fields]
        return Detection(CLASSICAL, None, None, classed=True, candidates=tuple(found))
    folder = resolve_model(model)
    card = load_card(folder)
    at = card.threshold if threshold is None else threshold
    if threshold is None and post not in (None, card.post):
        at = card.peak_rule(post).usual_threshold or at
    floor, classed = min(at, card.floor), len(card.channels) > 1

    def cells_of(field: Field) -> FoundCells:
        peaks, _, scaled = model_candidates(
            model, field, floor=floor, post=post, threads=threads, device=device
        )
        scale = scaled.mpp_um / field.mpp_um
        label = peaks.label if classed else np.full(len(peaks), UNCLASSED, np.uint8)
        return FoundCells(peaks.x_px * scale, peaks.y_px * scale, label, peaks.score)

    found = [_told(cells_of(field), field, on_field) for field in fields]
    return Detection(folder.name, at, floor, classed=classed, candidates=tuple(found))


def _classical_cells(field: Field) -> FoundCells:
    from pipeline.core.classical import detect_classical

    return FoundCells(*detect_classical(field.image, mpp_um=field.mpp_um))


def _told(cells: FoundCells, field: Field, on_field: Callable[[Field], None] | None) -> FoundCells:
    if on_field is not None:
        on_field(field)
    return cells


def _refuse_blank(fields: Sequence[Field]) -> None:
    for field in fields:
        if not field.has_pixels:
            raise AnnotationError(
                f"{field.name}: only its points are known, no image; give --predictions"
            )
