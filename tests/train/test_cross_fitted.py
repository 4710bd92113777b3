"""A run's threshold comes from fields that it trained on, as networks of other folds found them."""

from collections.abc import Sequence

import numpy as np

from pipeline.train.detection import Detection
from pipeline.train.evaluate import FoundCells
from pipeline.train.experiment.thresholds import Key, cross_fitted_threshold
from pipeline.train.fields import Field

TRIED = (0.1, 0.2, 0.3, 0.4, 0.5)


def field(name: str) -> Field:
    x = np.array([10.5, 40.5])
    labels = np.array([1, 0], np.uint8)
    return Field(name, name, np.zeros((64, 64, 3), np.uint8), x, x, labels, 0.5)


def found(true_score: float, false_score: float, *, floor: float = 0.05) -> Detection:
    """Both cells of a field with one score, and a false one with another."""
    x = np.array([10.5, 40.5, 60.5])
    scores = np.array([true_score, true_score, false_score], np.float32)
    cells = FoundCells(x, x, np.array([1, 0, 1], np.uint8), scores)
    return Detection("m", 0.1, floor, classed=True, candidates=(cells,))


Other = tuple[dict[str, Sequence[Field]], dict[str, Detection]]


def of_fold(name: str, detection: Detection) -> Other:
    return {"set": [field(name)]}, {"set": detection}


def chosen(trained_on: list[Key], others: list[Other]) -> float | None:
    return cross_fitted_threshold(trained_on, others, TRIED, match_radius_um=3.125)


def test_the_threshold_is_the_best_on_the_fields_trained_on() -> None:
    others = [of_fold("a", found(0.45, 0.35)), of_fold("b", found(0.9, 0.32))]

    assert chosen([("set", "a"), ("set", "b")], others) == 0.4


def test_a_field_that_was_not_trained_on_has_no_say() -> None:
    others = [of_fold("a", found(0.45, 0.15)), of_fold("held out", found(0.9, 0.45))]

    assert chosen([("set", "a"), ("other set", "held out")], others) == 0.2


def test_a_field_that_several_folds_hold_out_counts_once() -> None:
    others = [of_fold("a", found(0.45, 0.15)), of_fold("a", found(0.9, 0.45))]

    assert chosen([("set", "a")], others) == 0.2


def test_every_source_has_the_same_say_however_many_its_fields() -> None:
    names = ["a", "b", "c", "d"]
    # four fields would go up to 0.5 for a little, one goes down to 0.2 for a lot
    many = [of_fold(name, found(0.55, 0.45)) for name in names]
    few: list[Other] = [({"small": [field("e")]}, {"small": found(0.25, 0.15)})]
    large = [("set", name) for name in names]

    assert chosen(large, many) == 0.5
    assert chosen([*large, ("small", "e")], [*many, *few]) == 0.2


def test_no_threshold_is_tried_below_the_floor_of_what_was_kept() -> None:
    assert chosen([("set", "a")], [of_fold("a", found(0.9, 0.01, floor=0.25))]) == 0.3


def test_without_another_run_on_these_fields_there_is_no_threshold() -> None:
    assert chosen([("set", "a")], []) is None
    assert chosen([("set", "a")], [of_fold("b", found(0.9, 0.1))]) is None
