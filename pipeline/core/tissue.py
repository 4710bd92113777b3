"""Tissue told from glass on an overview: optical density above the slide's own background.

Luminance thresholds in Otsu's way split nuclei from stroma on immunostains, so glass is found
first (bright, pale, smooth, the most frequent) and tissue is what is denser or more coloured.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Rgb = NDArray[np.float32]

BRIGHT = 170.0
"""Grey level that glass reaches at least, of 255."""
PALE = 45.0
"""Glass has its channels within this many grey levels (yellowed glass has about 30)."""
SMOOTH = 1.0
"""Glass varies less than this many grey levels between neighbouring pixels."""
GLASS_BLOCK = np.ones((5, 5), bool)
"""Glass comes in blocks of at least this size; pale stroma is as smooth only in specks."""
SATURATED = 254.0
"""Camera white or a writer's fill: taken for glass only where there is no other."""
GLASS_SHARE = 0.02
"""Less glass than this share of the pixels is no sample: the background is then taken as white."""
WHITE_WITHOUT_GLASS = 240.0
OD_SUM_RANGE = (0.06, 0.15)
"""Threshold on the summed optical density of the channels: six times the glass's noise within."""
CHROMA_RANGE = (0.035, 0.08)
"""The same for the difference between the densest and the clearest channel."""
NOISE_FACTOR = 6.0
HOLE_MM2 = 0.05
"""Holes up to this size (lumens, vessels) belong to the tissue around them."""
SAMPLE_PX = 1_000_000
"""The background is estimated on bands of rows of about so many pixels, spread over the slide."""
_STRIP_ROWS = 256
_MARGIN_ROWS = 4
"""Reach of the smoothing: strips overlap by it, so strips change nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class TissueMask:
    """Where tissue is: ``(H, W)`` bool on square pixels of ``um_per_px`` micrometres."""

    mask: NDArray[np.bool_]
    um_per_px: float

    @property
    def area_mm2(self) -> float:
        """Area of the tissue."""
        return float(np.count_nonzero(self.mask)) * self.um_per_px**2 / 1e6


def detect_tissue(
    rgb: NDArray[np.uint8],
    *,
    um_per_px: float,
    min_piece_mm2: float,
    absent: NDArray[np.bool_] | None = None,
) -> TissueMask:
    """Find tissue on an overview of about 8 micrometres per pixel, pale immunostains included.

    Works in strips of rows: beyond the overview it needs a few bytes per pixel.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` uint8.
    min_piece_mm2
        Smaller connected pieces are dropped.
    absent
        ``(H, W)`` bool, pixels the slide does not have; never tissue.
    """
    present = np.ones(rgb.shape[:2], bool) if absent is None else ~absent
    stained, ink = _stained_and_ink(rgb, present, _background(rgb, present))
    pen = ink
    if ink.any():
        # the blurred rim of a pen's line is paler than the line
        pen = ndimage.binary_dilation(ndimage.binary_opening(ink, iterations=2), iterations=4)
    allowed = present & ~pen
    px_mm2 = um_per_px**2 / 1e6
    mask = ndimage.binary_closing(np.pad(stained & allowed, 2), iterations=2)[2:-2, 2:-2] & allowed
    mask = _without_small(mask, min_piece_mm2 / px_mm2)
    return TissueMask(_holes_filled(mask, HOLE_MM2 / px_mm2) & allowed, um_per_px)


def pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number the 8-connected pieces of a mask.

    Returns
    -------
    ``(H, W)`` int32 labels, 0 outside tissue, and the number of pieces.
    """
    labels, number = ndimage.label(mask, structure=np.ones((3, 3), bool), output=np.int32)
    return np.asarray(labels, np.int32), int(number)


def pixels_of_pieces(
    labels: NDArray[np.int32], number: int, counted: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many of the counted pixels each of ``pieces`` has, ``(number + 1,)``; first: of none."""
    found = np.zeros(number + 1, np.int64)
    for top in range(0, len(labels), _STRIP_ROWS):
        some = slice(top, top + _STRIP_ROWS)
        found += np.bincount(labels[some][counted[some]], minlength=number + 1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Background:
    """A plane through the logarithm of glass, per channel, and the thresholds above it."""

    coefficient: NDArray[np.float64]
    """``(3 terms, 3 channels)``: constant, row / height, column / width."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    od_sum: float = OD_SUM_RANGE[0]
    chroma: float = CHROMA_RANGE[0]

    def log_at(self, row: NDArray[np.float64], width: int) -> Rgb:
        """log10 of the background at rows (as shares of the height), ``(len(row), width, 3)``."""
        plane = np.empty((len(row), width, 3), np.float32)
        col = np.arange(width) / width
        for channel in range(3):
            constant, by_row, by_col = self.coefficient[:, channel]
            level = (constant + row * by_row)[:, None] + (col * by_col)[None, :]
            low, high = self.low[channel], self.high[channel]
            # of a plane, one that stays within the range at the corners does so everywhere
            corners = level[[0, 0, -1, -1], [0, -1, 0, -1]]
            if corners.min() < low or corners.max() > high:
                np.clip(level, low, high, out=level)
            plane[:, :, channel] = level
        return plane


def _stained_and_ink(
    rgb: NDArray[np.uint8], present: NDArray[np.bool_], background: _Background
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels denser or more coloured than glass, and pixels of the colour of pen ink."""
    height, width = present.shape
    stained, ink = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for y0 in range(0, height, _STRIP_ROWS):
        y1 = min(y0 + _STRIP_ROWS, height)
        top, bottom = max(y0 - _MARGIN_ROWS, 0), min(y1 + _MARGIN_ROWS, height)
        smooth = _smoothed(rgb[top:bottom], present[top:bottom])[y0 - top : y1 - top]
        density = background.log_at(np.arange(y0, y1) / height, width) - _log(smooth)
        total, chroma = _total_and_chroma(density)
        # coloured but brighter than glass is a reflection or a fill, not tissue
        stained[y0:y1] = (total > background.od_sum) | ((chroma > background.chroma) & (total > 0))
        ink[y0:y1] = _ink_coloured(density)
    return stained, ink


def _background(rgb: NDArray[np.uint8], present: NDArray[np.bool_]) -> _Background:
    """Find glass and fit its colour; plain white where the overview has too little of it."""
    rows = _sampled_rows(*present.shape)
    shown = present[rows]
    smooth = _smoothed(rgb[rows], shown)
    log, share = _log(smooth), rows / len(rgb)
    eligible = _bright_pale_smooth(smooth, shown)
    glass = _most_frequent(eligible, _mean(smooth), int(shown.sum()))
    if not glass.any():
        white = np.maximum(np.log10(WHITE_WITHOUT_GLASS), log.max(axis=(0, 1)))
        return _flat(white)
    # seed on the most frequent white, then let the plane grow along a slow change of the lamp
    fitted = _flat(np.median(log[glass], axis=0))
    for _ in range(4):
        density = fitted.log_at(share, present.shape[1]) - log
        near = eligible & (_highest(np.abs(density)) < 0.010)
        glass = near if np.count_nonzero(near) >= GLASS_BLOCK.size else glass
        fitted = _plane_through(log, glass, share)
    total, chroma = _total_and_chroma(fitted.log_at(share, present.shape[1]) - log)
    return replace(
        fitted,
        od_sum=_threshold(total[glass], OD_SUM_RANGE),
        chroma=_threshold(chroma[glass], CHROMA_RANGE),
    )


def _sampled_rows(height: int, width: int) -> NDArray[np.intp]:
    """All rows of a small overview, else bands of 64 rows spread evenly."""
    band = 64
    every = -(-height * width // SAMPLE_PX)
    row = np.arange(height)
    return np.asarray(row[(row // band) % every == 0], np.intp)


def _smoothed(rgb: NDArray[np.uint8], present: NDArray[np.bool_]) -> Rgb:
    """Grey levels with noise of single pixels removed; absent pixels lend nothing and are white."""
    weight = ndimage.gaussian_filter(present.astype(np.float32), 1.0, truncate=_MARGIN_ROWS)
    smooth = np.full(rgb.shape, 255, np.float32)
    for channel in range(3):
        value = np.where(present, rgb[:, :, channel], 0).astype(np.float32)
        value = ndimage.gaussian_filter(value, 1.0, truncate=_MARGIN_ROWS)
        np.divide(value, weight, out=smooth[:, :, channel], where=present)
    return smooth


def _log(smooth: Rgb) -> Rgb:
    return np.log10(np.maximum(smooth, 1.0))


def _total_and_chroma(density: Rgb) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    red, green, blue = _channels(density)
    return red + green + blue, _highest(density) - _lowest(density)


# of three values numpy's own reductions take ten times as long, for the same bits
def _channels(pixels: Rgb) -> tuple[Rgb, Rgb, Rgb]:
    return pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2]


def _mean(pixels: Rgb) -> Rgb:
    red, green, blue = _channels(pixels)
    return (red + green + blue) / np.float32(3)


def _highest(pixels: Rgb) -> Rgb:
    red, green, blue = _channels(pixels)
    return np.maximum(np.maximum(red, green), blue)


def _lowest(pixels: Rgb) -> Rgb:
    red, green, blue = _channels(pixels)
    return np.minimum(np.minimum(red, green), blue)


def _bright_pale_smooth(smooth: Rgb, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # about 200, so that squares of grey levels keep their small differences in float32
    level = _mean(smooth) - 200
    variance = ndimage.uniform_filter(level**2, 3) - ndimage.uniform_filter(level, 3) ** 2
    pale = _highest(smooth) - _lowest(smooth) < PALE
    return np.asarray(present & (level > BRIGHT - 200) & pale & (variance < SMOOTH**2))


def _most_frequent(
    eligible: NDArray[np.bool_], level: NDArray[np.float32], present_px: int
) -> NDArray[np.bool_]:
    """Pixels near the most frequent grey level of glass, none where glass is too little."""
    blocks = ndimage.binary_opening(eligible, GLASS_BLOCK)
    for candidates in (blocks & (level < SATURATED), blocks):
        near = _near_mode(candidates, level)
        if np.count_nonzero(near) >= max(GLASS_SHARE * present_px, GLASS_BLOCK.size):
            return near
    return np.zeros_like(eligible)


def _near_mode(eligible: NDArray[np.bool_], level: NDArray[np.float32]) -> NDArray[np.bool_]:
    number = np.bincount(np.round(level[eligible]).astype(np.int64), minlength=256)
    mode = int(np.convolve(number, np.ones(5, np.int64), mode="same").argmax())
    return np.asarray(eligible & (np.abs(level - mode) <= 2.5))


def _flat(log_white: NDArray[np.floating]) -> _Background:
    constant = np.asarray(log_white, np.float64)
    return _Background(np.stack([constant, 0 * constant, 0 * constant]), constant, constant)


def _plane_through(log: Rgb, glass: NDArray[np.bool_], share: NDArray[np.float64]) -> _Background:
    """Least-squares plane of each channel over glass, held within glass's own range."""
    row, col = np.nonzero(glass)
    terms = np.stack([np.ones(len(row)), share[row], col / glass.shape[1]])
    value = log[row, col].astype(np.float64)
    # the normal equations: terms lie in 0 to 1, and one pass over a million pixels will do
    coefficient = np.linalg.lstsq(terms @ terms.T, terms @ value, rcond=None)[0]
    low, high = np.percentile(value, [0.5, 99.5], axis=0)
    return _Background(coefficient, low, high)


def _threshold(glass: NDArray[np.float32], limits: tuple[float, float]) -> float:
    spread = 1.4826 * float(np.median(np.abs(glass - np.median(glass))))
    return float(np.clip(NOISE_FACTOR * spread, *limits))


def _ink_coloured(density: Rgb) -> NDArray[np.bool_]:
    """Blue and green marker ink: no mixture of haematoxylin, eosin and DAB has these ratios."""
    red, green, blue = _channels(density)
    blue_ink = (red > 1.2 * green) & (blue < 0.5 * red)
    green_ink = (green < 0.8 * red) & (green < 0.8 * blue)
    return np.asarray((red > 0.25) & (blue_ink | green_ink))


def _without_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    labels, number = pieces(mask)
    large = pixels_of_pieces(labels, number, mask) >= least_px
    large[0] = False
    return np.asarray(large[labels])


def _holes_filled(mask: NDArray[np.bool_], most_px: float) -> NDArray[np.bool_]:
    """Fill small 4-connected gaps; those at the overview's edge are open, not holes."""
    labels, number = ndimage.label(~mask)
    small = np.bincount(labels.ravel(), minlength=number + 1) <= most_px
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[edge] = False
    small[0] = True
    return np.asarray(mask | small[labels])
