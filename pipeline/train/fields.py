"""A field: one annotated image, and how it is cut to the model's resolution."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.resampling import axis_taps, resample
from pipeline.errors import AnnotationError

UNCLASSED = 255
"""Label of a cell that is marked but neither positive nor negative."""
WHITE = 255.0
FRAME_PX = 512.0
"""Side of the frame that the published method scales every image to before it matches points."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One annotated image.

    Attributes
    ----------
    name
        The image's name within its source.
    group
        Fields of one group show the same tissue and stay on one side of a split.
    image
        ``(H, W, 3)`` uint8 RGB.
    x_px, y_px
        float64 continuous coordinates in the image's pixels, pixel centres at +0.5.
    label
        uint8: 1 positive, 0 negative, 255 a cell of unknown class.
    mpp_um
        Micrometres per pixel of ``image``.
    other_xy_px
        ``(M, 2)`` float64: cells marked as no tumour cell (lymphocytes). They are in no count and
        no index; a cell found on one is a false one, and how many there are is reported.
    has_pixels
        False for a field of which only the points are known; its image is a white plane.
    """

    name: str
    group: str
    image: NDArray[np.uint8]
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    label: NDArray[np.uint8]
    mpp_um: float
    other_xy_px: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    has_pixels: bool = True

    def __post_init__(self) -> None:
        """Refuse an image or points that cannot be."""
        image = self.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise AnnotationError(
                f"{self.name}: the image is {image.dtype} {image.shape}; give RGB of 8 bits"
            )
        if not len(self.x_px) == len(self.y_px) == len(self.label):
            raise AnnotationError(
                f"{self.name}: {len(self.x_px)} x, {len(self.y_px)} y and {len(self.label)} "
                "labels; give one of each per cell"
            )
        if not self.mpp_um > 0:
            raise AnnotationError(f"{self.name}: mpp={self.mpp_um} um/px must be above 0")
        self._check_points()

    def _check_points(self) -> None:
        height, width = self.image.shape[:2]
        kinds = (
            ("point", np.column_stack([self.x_px, self.y_px])),
            ("point of no tumour cell,", self.other_xy_px),
        )
        for kind, xy_px in kinds:
            finite = np.isfinite(xy_px).all(axis=1)
            if not finite.all():
                raise AnnotationError(
                    f"{self.name}: {kind} {int(np.argmin(finite)) + 1} has a coordinate that is "
                    "no number; correct or remove it"
                )
            inside = ((xy_px >= 0) & (xy_px < (width, height))).all(axis=1)
            if not inside.all():
                worst = int(np.argmin(inside))
                x_px, y_px = xy_px[worst]
                raise AnnotationError(
                    f"{self.name}: {kind} {worst + 1} at ({x_px:g}, {y_px:g}) is outside the "
                    f"image of {width} x {height} px; check the order of x and y"
                )
        known = np.isin(self.label, (0, 1, UNCLASSED))
        if not known.all():
            worst = int(np.argmin(known))
            raise AnnotationError(
                f"{self.name}: point {worst + 1} has label {self.label[worst]}; "
                f"known: 0 negative, 1 positive, {UNCLASSED} unknown class"
            )

    @property
    def classed(self) -> bool:
        """Whether every cell is marked as positive or negative."""
        return not bool((self.label == UNCLASSED).any())

    def resampled(self, mpp_um: float) -> "Field":
        """Return the field at another resolution, its pixels made just as a slide's are.

        A right and lower rest of less than half a pixel is dropped.
        """
        scale = mpp_um / self.mpp_um
        if scale == 1.0:
            return self
        height, width = (max(1, round(side / scale)) for side in self.image.shape[:2])
        image = _resampled(self.image, scale, width=width, height=height)
        # a point on the dropped rest keeps its cell at the last pixel
        last = np.nextafter((width, height), 0)
        return replace(
            self,
            image=image,
            x_px=np.minimum(self.x_px / scale, last[0]),
            y_px=np.minimum(self.y_px / scale, last[1]),
            other_xy_px=np.minimum(self.other_xy_px / scale, last),
            mpp_um=mpp_um,
        )

    def without_duplicates(self) -> "Field":
        """Keep one of the cells that fall into one pixel of the 512-pixel frame, the first."""
        height, width = self.image.shape[:2]
        pixel = np.floor(np.column_stack([self.x_px, self.y_px]) * FRAME_PX / (width, height))
        first = np.sort(np.unique(pixel, axis=0, return_index=True)[1])
        if len(first) == len(self.label):
            return self
        return replace(self, x_px=self.x_px[first], y_px=self.y_px[first], label=self.label[first])


def _resampled(
    image: NDArray[np.uint8], scale: float, *, width: int, height: int
) -> NDArray[np.uint8]:
    taps_y = axis_taps(0, height, origin=0.0, scale=scale)
    taps_x = axis_taps(0, width, origin=0.0, scale=scale)
    spans = [(taps_y, image.shape[0]), (taps_x, image.shape[1])]
    around = [(max(0, -t.first), max(0, t.first + t.count - length)) for t, length in spans]
    padded = np.pad(image, [*around, (0, 0)], constant_values=int(WHITE))
    y0, x0 = (max(0, taps.first) for taps in (taps_y, taps_x))
    return resample(padded[y0 : y0 + taps_y.count, x0 : x0 + taps_x.count], taps_y, taps_x)


def area_cut(
    image: NDArray[np.uint8], x0: float, y0: float, scale: float, *, width: int, height: int
) -> NDArray[np.uint8]:
    """Cut a rectangle out of an image at another resolution, white where there is no image.

    Output pixel (i, j) is the mean of the image over ``[x0 + j * scale, x0 + (j + 1) * scale)``
    and the like in y, with fractional coverage of pixels.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8.
    x0, y0
        Continuous image coordinates of the output's corner; may lie outside.
    scale
        Image pixels per output pixel.
    width, height
        Size of the output in its pixels.

    Returns
    -------
    NDArray[np.uint8]
        ``(height, width, 3)``, rounded half up.
    """
    first_row, rows = _coverage(y0, scale, height, image.shape[0])
    first_col, cols = _coverage(x0, scale, width, image.shape[1])
    part = image[first_row : first_row + rows.shape[1], first_col : first_col + cols.shape[1]]
    # darkness, not brightness: what the image does not cover adds nothing and so is white
    darkness = WHITE - part.astype(np.float32)
    # both products are plain matrix products: a batched one with three columns is 10 times slower
    tall = rows @ darkness.reshape(part.shape[0], -1)
    tall = tall.reshape(height, part.shape[1], 3).transpose(1, 0, 2).reshape(part.shape[1], -1)
    both = (cols @ tall).reshape(width, height, 3).transpose(1, 0, 2)
    return np.ascontiguousarray((WHITE - both + 0.5).clip(0, 255).astype(np.uint8))


def _coverage(
    origin: float, scale: float, count: int, length: int
) -> tuple[int, NDArray[np.float32]]:
    """Return the first source pixel used, and ``(count, used)`` shares that add up to <= 1."""
    start = origin + scale * np.arange(count, dtype=np.float64)
    first = int(np.clip(np.floor(start[0]), 0, length))
    last = int(np.clip(np.ceil(start[-1] + scale), first, length))
    pixel = np.arange(first, last, dtype=np.float64)
    overlap = np.minimum(start[:, None] + scale, pixel + 1) - np.maximum(start[:, None], pixel)
    return first, (overlap.clip(0) / scale).astype(np.float32)
