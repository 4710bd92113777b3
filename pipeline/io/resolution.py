"""Micrometres per pixel: a written ladder, a range that is possible, and no silent guess.

1. ``slides.mpp`` (``--mpp``): the user knows better than the file.
2. The vendor's own value.
3. A TIFF resolution tag or OME-XML, in formats that have nothing better.
4. ``slides.assume_mpp`` (``--assume-mpp``): only where the file is silent.
5. Refuse.

An objective power never becomes micrometres: 20x is 0.23 on one scanner and 0.5 on another.
"""

from dataclasses import dataclass
from typing import Protocol

from pipeline.config import MPP_RANGE_UM
from pipeline.errors import MissingResolutionError, ResolutionRangeError, UnreadableSlideError

ANISOTROPY = 0.01
"""Relative difference of the axes up to which a slide counts as square-pixelled."""

MOST_UPSAMPLING = 2.0
"""A slide may be this much coarser than the pixels a model was trained on."""


class Stated(Protocol):
    """What the ladder asks of an open slide."""

    @property
    def name(self) -> str:
        """File name."""

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres per pixel in the file."""

    @property
    def mpp_source(self) -> str | None:
        """Where they stand in the file."""

    @property
    def resampled(self) -> bool:
        """Whether the full-resolution level is missing."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Micrometres per level-0 pixel, and the rung of the ladder they come from.

    Attributes
    ----------
    source
        ``override``, ``vendor``, ``ome-xml``, ``tiff-tag`` or ``assumed``.
    """

    mpp_x: float
    mpp_y: float
    source: str

    @property
    def mpp(self) -> tuple[float, float]:
        """Both axes: (x, y)."""
        return self.mpp_x, self.mpp_y

    @property
    def anisotropic(self) -> bool:
        """Whether pixels are oblong by more than 1 %."""
        return abs(self.mpp_x - self.mpp_y) > ANISOTROPY * min(self.mpp_x, self.mpp_y)


def resolve_resolution(
    reader: Stated, *, mpp: float | None = None, assume_mpp: float | None = None
) -> Resolution:
    """Climb the ladder.

    Parameters
    ----------
    mpp
        Overrides the file.
    assume_mpp
        Used only where the file says nothing; it never covers up an absurd value.

    Raises
    ------
    MissingResolutionError
        The file says nothing, and no value was given.
    ResolutionRangeError
        The value cannot be true.
    UnreadableSlideError
        A DICOM series without its full-resolution file.
    """
    if mpp is not None:
        return _possible(reader.name, (mpp, mpp), "override", "from --mpp")
    if reader.mpp is not None:
        where = "in the file cannot be true (pass --mpp with the true value)"
        resolution = _possible(reader.name, reader.mpp, reader.mpp_source or "vendor", where)
        _refuse_reduced(reader)
        return resolution
    _refuse_reduced(reader)
    if assume_mpp is not None:
        return _possible(reader.name, (assume_mpp, assume_mpp), "assumed", "from --assume-mpp")
    raise MissingResolutionError(
        f"{reader.name}: no micrometres per pixel in the file; pass --assume-mpp 0.25 (or --mpp)"
    )


def check_against_model(resolution: Resolution, mpp_um: float, *, name: str = "slide") -> None:
    """Refuse a slide that is too coarse for a model.

    Parameters
    ----------
    mpp_um
        Micrometres per pixel that the model was trained on.

    Raises
    ------
    ResolutionRangeError
        More than twice the model's pixel.
    """
    coarse = max(resolution.mpp)
    if coarse > MOST_UPSAMPLING * mpp_um * (1 + 1e-6):
        raise ResolutionRangeError(
            f"{name}: {coarse:.4g} um per pixel is more than {MOST_UPSAMPLING:g} times the model's "
            f"{mpp_um:.4g}; scan it at a higher power or use a coarser model"
        )


def _possible(name: str, mpp: tuple[float, float], source: str, where: str) -> Resolution:
    least, most = MPP_RANGE_UM
    for value in mpp:
        if not least <= value <= most:
            raise ResolutionRangeError(
                f"{name}: {value:.6g} um per pixel {where}; possible are {least:g} to {most:g}"
            )
    return Resolution(*mpp, source)


def _refuse_reduced(reader: Stated) -> None:
    if reader.resampled:
        raise UnreadableSlideError(
            f"{reader.name}: the full-resolution file of the DICOM series is missing (its largest "
            "level is RESAMPLED); copy it beside the others, or pass --mpp to take it as it is"
        )
