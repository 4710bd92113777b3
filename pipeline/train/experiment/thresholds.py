"""Thresholds of an experiment's runs, chosen on fields that a run did not hold out."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.train.detection import Detection
from pipeline.train.evaluate import Criterion, FoundCells, compare
from pipeline.train.fields import Field
from pipeline.train.figures import total_figures
from pipeline.train.validation import scored_by

Key = tuple[str, str]
"""A field: its source's name and its own."""


def best_threshold(
    fields: Sequence[Field],
    detection: Detection,
    tried: Iterable[float],
    *,
    match_radius_um: float,
    sources: Sequence[str] | None = None,
) -> float:
    """Return the threshold with the best figure on fields; of equal ones the lowest.

    Parameters
    ----------
    sources
        Source of each field: the mean of the sources' figures counts then, so that a small source
        has as much of a say as a large one. None: all cells of all fields count alike.
    """
    criterion = Criterion(match_radius_um)
    measure = scored_by(classed=detection.classed)
    places: dict[str, list[int]] = {}
    for place, source in enumerate(sources or [""] * len(fields)):
        places.setdefault(source, []).append(place)

    def score(threshold: float) -> float:
        found = detection.at(threshold).found
        rows = compare(fields, found, criterion=criterion, classed=detection.classed)
        figures = [total_figures([rows[at] for at in some])[measure] for some in places.values()]
        return sum(figure or 0.0 for figure in figures) / len(figures)

    return max(sorted(tried), key=score)


def cross_fitted_threshold(
    trained_on: Iterable[Key],
    others: Sequence[tuple[Mapping[str, Sequence[Field]], Mapping[str, Detection]]],
    tried: Iterable[float],
    *,
    match_radius_um: float,
) -> float | None:
    """Choose a run's threshold by what other folds' networks found on the fields it trained on.

    A network knows its own training fields too well to choose by them. The other networks have not
    seen these fields; no field that the run holds out takes part. The mean of the sources' figures
    decides.

    Parameters
    ----------
    trained_on
        Fields of the run's training.
    others
        Held-out fields and cells found, by source, of the other folds' runs with the same variant
        and seed. A field that several hold out counts once.

    Returns
    -------
    float | None
        None where no other run holds out any of the fields.
    """
    wanted, fields, candidates = set(trained_on), list[Field](), list[FoundCells]()
    sources = list[str]()
    first: Detection | None = None
    for held_out, detections in others:
        for name, some in held_out.items():
            first = first or detections[name]
            for field, cells in zip(some, detections[name].candidates, strict=True):
                if (name, field.name) in wanted:
                    wanted.remove((name, field.name))
                    sources.append(name)
                    fields.append(field)
                    candidates.append(cells)
    if first is None or not fields:
        return None
    joined = Detection(first.model, first.threshold, first.floor, first.classed, tuple(candidates))
    above = [value for value in tried if first.floor is None or value >= first.floor]
    return best_threshold(fields, joined, above, match_radius_um=match_radius_um, sources=sources)
