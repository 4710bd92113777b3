"""A whole synthetic slide: pieces of tissue on glass, and any rectangle of it on demand."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from pipeline.errors import ConfigError
from pipeline.io.synthetic.artefacts import Artefact, draw_artefacts, pad_px, plant
from pipeline.io.synthetic.noise import F32, F64
from pipeline.io.synthetic.ranges import DEMO_RANGES, SynthRanges, draw_style, glass_rgb
from pipeline.io.synthetic.render import is_glass, render_rectangle, render_with_nuclei
from pipeline.io.synthetic.scene import NO_NUCLEI, TUMOUR, Nuclei, Scene

BLOCK_PX = 1024
"""Width of the blocks a strip is rendered in; chosen for speed, without effect on the pixels."""

COVERAGE_MIN, COVERAGE_MAX = 0.01, 0.85


@dataclass(frozen=True, slots=True, eq=False)
class TissueMap:
    """Distance to the tissue border over the plane, um, negative on glass; bilinear nodes."""

    nodes: F32
    step_um: float

    def __call__(self, x_um: F64, y_um: F64) -> F32:
        """Depth at points, float32 (n,)."""
        rows, cols = self.nodes.shape
        x = np.clip(x_um / self.step_um, 0, cols - 1.001)
        y = np.clip(y_um / self.step_um, 0, rows - 1.001)
        col, row = x.astype(np.intp), y.astype(np.intp)
        fx, fy = x - col, y - row
        low = self.nodes[row, col] * (1 - fx) + self.nodes[row, col + 1] * fx
        high = self.nodes[row + 1, col] * (1 - fx) + self.nodes[row + 1, col + 1] * fx
        return np.asarray(low * (1 - fy) + high * fy, np.float32)


@dataclass(frozen=True)
class SyntheticSlide:
    """A slide that exists as a rule: every rectangle is rendered when asked for.

    The same parameters give the same pixels and cells; overlapping rectangles agree bit for bit.

    Attributes
    ----------
    seed
        At or above 1,000,000 with the demonstration ranges, below with the training ranges.
    width, height
        Level 0 in pixels.
    mpp_um
        Side of a level-0 pixel in um, 0.2 to 1.
    positive_share
        About this share of tumour cells is positive; None draws it from the ranges.
    coverage
        Share of the slide that is tissue, 0.01 to 0.85.
    pieces
        Number of pieces of tissue aimed at; neighbours may touch.
    artefacts
        Planted over what is painted; the true cells stay those of the clean slide.
    """

    seed: int
    width: int
    height: int
    mpp_um: float = 0.25
    ranges: SynthRanges = DEMO_RANGES
    positive_share: float | None = None
    coverage: float = 0.35
    pieces: int = 3
    artefacts: tuple[Artefact, ...] = ()
    scene: Scene = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        style = draw_style(self.seed, self.ranges, self.positive_share)
        object.__setattr__(self, "scene", Scene(self.seed, style, _tissue_map(self)))

    @property
    def glass(self) -> tuple[int, int, int]:
        """Colour of empty glass, RGB."""
        red, green, blue = (int(value) for value in glass_rgb(self.scene.style))
        return red, green, blue

    def pixels(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Level-0 pixels, uint8 (height, width, 3); beyond the slide is glass."""
        pad = pad_px(self.mpp_um) if self.artefacts else 0
        image = render_rectangle(
            self.scene, x - pad, y - pad, width + 2 * pad, height + 2 * pad, self.mpp_um
        )
        if not self.artefacts:
            return image
        red, green, blue = self.glass
        made = plant(
            image,
            self.artefacts,
            mpp_um=self.mpp_um,
            glass=(red, green, blue),
            x0_px=x - pad,
            y0_px=y - pad,
        )
        return made[pad : pad + height, pad : pad + width]

    def places_in_tissue(self, count: int) -> NDArray[np.float64]:
        """Points (x, y) well inside the tissue, um, far from one another; fixed by the seed."""
        tissue = _tissue_map(self)
        row, col = np.nonzero(tissue.nodes > 0.5 * tissue.nodes.max())
        places = np.column_stack([col, row]) * tissue.step_um
        rng = np.random.default_rng((self.seed, 43))
        chosen = [places[rng.integers(len(places))]]
        while len(chosen) < count:
            apart = np.hypot(*(places[:, None] - np.array(chosen)[None]).transpose(2, 0, 1))
            chosen.append(places[int(apart.min(axis=1).argmax())])
        return np.asarray(chosen, np.float64)

    def cells_in(self, x: float, y: float, width: float, height: float) -> Nuclei:
        """True cells (tumour nuclei) whose centres lie in a half-open level-0 rectangle."""
        right, low = min(x + width, self.width), min(y + height, self.height)
        mpp = self.mpp_um
        nuclei = self.scene.nuclei_in(max(x, 0) * mpp, max(y, 0) * mpp, right * mpp, low * mpp)
        return nuclei.take(nuclei.kind == TUMOUR)

    def rows(self, y: int, count: int) -> tuple[NDArray[np.uint8], Nuclei]:
        """Full-width rows, uint8 (count, width, 3), and all nuclei centred in them."""
        image = np.empty((count, self.width, 3), np.uint8)
        image[0] = self.glass
        image[1:] = image[0]
        parts = [NO_NUCLEI]
        for x in range(0, self.width, BLOCK_PX):
            width = min(BLOCK_PX, self.width - x)
            glass = is_glass(self.scene, x, y, width, count, self.mpp_um)
            if not self.artefacts:
                if glass:
                    continue
                block, nuclei = render_with_nuclei(self.scene, x, y, width, count, self.mpp_um)
            else:
                block = self.pixels(x, y, width, count)
                mpp = self.mpp_um
                nuclei = self.scene.nuclei_in(
                    x * mpp, y * mpp, (x + width) * mpp, (y + count) * mpp
                )
            image[:, x : x + width] = block
            parts.append(nuclei)
        found = Nuclei.concatenate(parts)
        return image, found.take(np.lexsort((found.x_um, found.y_um)))


def with_artefacts(slide: SyntheticSlide, kinds: tuple[str, ...]) -> SyntheticSlide:
    """Plant one artefact of each kind in a slide's tissue."""
    places = slide.places_in_tissue(len(kinds))
    length_um = min(1200.0, 0.25 * min(slide.width, slide.height) * slide.mpp_um)
    return replace(slide, artefacts=draw_artefacts(slide.seed, kinds, places, length_um))


def _check(slide: SyntheticSlide) -> None:
    if slide.width < 64 or slide.height < 64:
        raise ConfigError(f"slide size {slide.width} x {slide.height} px: give at least 64 x 64")
    if not 0.2 <= slide.mpp_um <= 1.0:
        raise ConfigError(f"mpp {slide.mpp_um} um/px is outside 0.2-1.0 um/px")
    if not COVERAGE_MIN <= slide.coverage <= COVERAGE_MAX:
        raise ConfigError(f"coverage {slide.coverage} is outside {COVERAGE_MIN}-{COVERAGE_MAX}")
    share = slide.positive_share
    if share is not None and not 0.0 <= share <= 1.0:
        raise ConfigError(f"positive share {share} is outside 0-1")
    if not 1 <= slide.pieces <= 50:
        raise ConfigError(f"{slide.pieces} pieces of tissue: give 1 to 50")


def _tissue_map(slide: SyntheticSlide) -> TissueMap:
    """Round pieces with an uneven border that cover the wanted share of the slide."""
    width_um, height_um = slide.width * slide.mpp_um, slide.height * slide.mpp_um
    # About 400 nodes along the longer side, but never finer than a cell.
    step_um = max(8.0, max(width_um, height_um) / 400.0)
    cols, rows = int(width_um / step_um) + 2, int(height_um / step_um) + 2
    x: F64 = np.arange(cols, dtype=np.float64) * step_um
    y: F64 = np.arange(rows, dtype=np.float64)[:, None] * step_um
    rng = np.random.default_rng((slide.seed, 2))
    height = _pieces(slide.pieces, rng, x / width_um, y / height_um, height_um / width_um)
    grain = gaussian_filter(rng.standard_normal((rows, cols)), min(rows, cols) / 22.0)
    fine = gaussian_filter(rng.standard_normal((rows, cols)), max(min(rows, cols) / 80.0, 1.0))
    height += 0.30 * grain / grain.std() + 0.06 * fine / fine.std()
    # The rim of the slide stays glass, as on every mounted section.
    margin = np.minimum(np.minimum(x, width_um - x), np.minimum(y, height_um - y))
    height -= 4.0 * np.clip(1 - margin / (0.06 * min(width_um, height_um)), 0, 1)
    inside = height > np.quantile(height, 1.0 - slide.coverage)
    # The border runs between nodes: half a step either way, so the slope never exceeds 1.
    depth = np.where(
        inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside)
    )
    depth = gaussian_filter(depth * step_um, 1.2, mode="nearest")
    return TissueMap(depth.astype(np.float32), step_um)


def _pieces(count: int, rng: np.random.Generator, x: F64, y: F64, aspect: float) -> F64:
    """Height map of `count` ellipses spread over the unit square; 1 in a centre, falling."""
    across = max(1, round(float(np.sqrt(count / aspect))))
    down = -(-count // across)
    height = np.full(np.broadcast_shapes(x.shape, y.shape), -9.0)
    for index in range(count):
        row, col = divmod(index, across)
        in_row = min(across, count - row * across)
        centre_x = (col + 0.5 + rng.uniform(-0.12, 0.12)) / in_row
        centre_y = (row + 0.5 + rng.uniform(-0.12, 0.12)) / down
        radius_x = rng.uniform(0.75, 1.15) / in_row
        radius_y = rng.uniform(0.75, 1.15) / down
        distance = np.hypot((x - centre_x) / radius_x, (y - centre_y) / radius_y)
        height = np.maximum(height, 1.0 - 2.0 * distance)
    return height
