"""What one look over a whole slide says of its quality."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Glass = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class OverviewQuality:
    """What the overview says of a slide.

    Attributes
    ----------
    glass
        Colour of empty glass: red, green, blue.
    ink
        ``(H, W)`` bool: blue or green ink and its rim; the tissue mask leaves it out.
    edge_um
        Length along which tissue touches the slide's edge or pixels that were not scanned.
    mask_agreement
        Area that colour and texture both call tissue over the area that either does; 1 where
        there is none.
    """

    glass: Glass
    ink: NDArray[np.bool_]
    edge_um: float
    mask_agreement: float
