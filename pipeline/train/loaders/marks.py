"""Marked cells of one image, and what the words of their labels stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.points import NEGATIVE, POSITIVE
from pipeline.errors import AnnotationError
from pipeline.train.config import Meaning
from pipeline.train.fields import UNCLASSED

CODES: Mapping[str, int] = {"positive": POSITIVE, "negative": NEGATIVE, "cell": UNCLASSED}

# Words in lower case. Of a derived class ("Tumor: Positive") the base decides first.
_OTHER_WORDS = frozenset(
    {"other", "lymphocyte", "immune cells", "stroma", "stromal", "necrosis", "endothelial"}
)
_TUMOUR_WORDS = frozenset({"tumor", "tumour"})
_CELL_WORDS = frozenset({"cell", "nucleus"})
KNOWN_WORDS = ("positive", "negative", "cell", "lymphocyte", "other", "ignore")
"""Named when an unknown word comes up."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Cells marked on one image, in continuous pixels (pixel centres at +0.5).

    Attributes
    ----------
    xy_px
        ``(N, 2)`` float64.
    label
        ``(N,)`` uint8: 1 positive, 0 negative, 255 a cell of unknown class.
    other_xy_px
        ``(M, 2)`` float64: cells that are no tumour cells.
    """

    xy_px: NDArray[np.float64]
    label: NDArray[np.uint8]
    other_xy_px: NDArray[np.float64]


def marks_of(points: Sequence[tuple[float, float, Meaning]]) -> Marks:
    """Sort points (continuous x, y and what each is) into counted cells and others."""
    counted = [(x, y, CODES[meaning]) for x, y, meaning in points if meaning in CODES]
    rows = np.array(counted, np.float64).reshape(-1, 3)
    others = [(x, y) for x, y, meaning in points if meaning == "other"]
    return Marks(
        rows[:, :2].copy(),
        rows[:, 2].astype(np.uint8),
        np.array(others, np.float64).reshape(-1, 2),
    )


def cells_of(xy_px: NDArray[np.float64]) -> Marks:
    """Cells of unknown class."""
    xy_px = np.asarray(xy_px, np.float64).reshape(-1, 2)
    return Marks(xy_px, np.full(len(xy_px), UNCLASSED, np.uint8), np.empty((0, 2)))


def classed_cells(
    xy_px: NDArray[np.float64], words: Sequence[str], own: Mapping[str, Meaning]
) -> Marks:
    """Cells of unknown class, but for those whose word the source gives a meaning of its own."""
    found = zip(xy_px.tolist(), words, strict=True)
    return marks_of([(x, y, own.get(word, "cell")) for (x, y), word in found])


def meaning_of(word: str, own: Mapping[str, Meaning]) -> Meaning:
    """Tell what a label word stands for.

    Parameters
    ----------
    word
        As stored; upper and lower case are the same. ``Tumor: Positive`` is a derived class of
        QuPath: the base says which cell it is. A word that ends in ``*`` is to be ignored.
    own
        The source's own words, which come first.

    Raises
    ------
    AnnotationError
        Nothing is known of the word.
    """
    plain = word.strip().lower()
    mine = {name.strip().lower(): meaning for name, meaning in own.items()}
    base, *derived = (part.strip() for part in plain.split(":"))
    for name in (plain, base):
        if name in mine:
            return mine[name]
    if base == "ignore" or plain.endswith("*"):
        return "ignore"
    if base in _OTHER_WORDS:
        return "other"
    last = derived[-1] if derived and base in _TUMOUR_WORDS | _CELL_WORDS else plain
    if last == "positive":
        return "positive"
    if last == "negative":
        return "negative"
    if last in _CELL_WORDS:
        return "cell"
    shown = repr(word) if plain else "none"
    raise AnnotationError(
        f"unknown label {shown}; known: {', '.join(KNOWN_WORDS)}; "
        f'or say what it is: labels = {{ "{word.strip()}" = "negative" }}'
    )
