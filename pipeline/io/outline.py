"""Outlines of a mask: exact polygons along pixel edges, then simplified, in level-0 pixels."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame

_TOP_LEFT, _TOP_RIGHT, _BOTTOM_LEFT, _BOTTOM_RIGHT = 1, 2, 4, 8
_STRIP_ROWS = 2048

IntArray = NDArray[np.int64]


def mask_outline(
    mask: NDArray[np.bool_], frame: PlaneFrame, *, tolerance_px: float = 1.0
) -> shapely.MultiPolygon:
    """Outline the true pixels of a mask, holes included, as a valid geometry.

    Parameters
    ----------
    mask
        bool ``(height, width)``.
    frame
        Of the mask: places its pixels on level 0.
    tolerance_px
        How far the outline may leave the pixel edges, mask pixels; 0 is exact.

    Returns
    -------
    MultiPolygon
        In level-0 pixels; empty for an empty mask. Pixels that touch at a corner only are two
        polygons.

    Raises
    ------
    ValueError
        The mask is not 2-D or not of the frame's size.
    """
    if mask.shape != (frame.height, frame.width):
        raise ValueError(f"mask {mask.shape} is not the frame's {frame.height} x {frame.width}")
    exact = exact_outline(mask)
    simple = _simplified(exact, tolerance_px) if tolerance_px > 0 else exact
    scale = np.array([frame.scale_x, frame.scale_y])
    origin = np.array([frame.origin_x_l0, frame.origin_y_l0])
    return shapely.transform(simple, lambda corners: origin + corners * scale)


def exact_outline(mask: NDArray[np.bool_]) -> shapely.MultiPolygon:
    """Outline a mask along its pixel edges, in mask pixels.

    Time grows with the pixels once (a vectorised search for corners) and with the corners.
    """
    corners = _find_corners(mask)
    shells: list[IntArray] = []
    holes: list[IntArray] = []
    for ring in _rings(corners):
        x, y = corners.x[ring], corners.y[ring]
        # the first corner is the ring's topmost, leftmost: what lies below right is inside it
        outer = bool(corners.code[ring[0]] & _BOTTOM_RIGHT)
        for part, same_turn in _split(np.stack([x, y], axis=1)):
            (shells if same_turn == outer else holes).append(part)
    return _assembled(shells, holes)


@dataclass(frozen=True, slots=True, eq=False)
class _Corners:
    """Corners of the pixel edges in row-major order; a saddle (two pixels diagonal) is two."""

    x: IntArray
    y: IntArray
    code: NDArray[np.uint8]
    """Which of the four pixels around are set."""
    down: NDArray[np.bool_]
    """The vertical edge goes down from here (needed at saddles to tell two corners apart)."""


def _find_corners(mask: NDArray[np.bool_]) -> _Corners:
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), np.uint8)
    padded[1:-1, 1:-1] = mask
    # one or three of four pixels set make a corner, two in a diagonal make two
    is_corner = np.array([n.bit_count() in {1, 3} or n in {6, 9} for n in range(16)])
    found_y, found_x, found_code = [], [], []
    for top in range(0, height + 1, _STRIP_ROWS):
        strip = padded[top : top + _STRIP_ROWS + 1]
        code = strip[:-1, :-1] * np.uint8(_TOP_LEFT)
        code += strip[:-1, 1:] * np.uint8(_TOP_RIGHT)
        code += strip[1:, :-1] * np.uint8(_BOTTOM_LEFT)
        code += strip[1:, 1:] * np.uint8(_BOTTOM_RIGHT)
        y, x = np.nonzero(is_corner[code])
        found_y.append(y + top)
        found_x.append(x)
        found_code.append(code[y, x])
    code = np.concatenate(found_code)
    saddle = (code == _TOP_RIGHT | _BOTTOM_LEFT) | (code == _TOP_LEFT | _BOTTOM_RIGHT)
    repeats = np.where(saddle, 2, 1)
    x, y = np.repeat(np.concatenate(found_x), repeats), np.repeat(np.concatenate(found_y), repeats)
    code = np.repeat(code, repeats)
    second = np.zeros(len(code), bool)
    second[np.cumsum(repeats)[saddle] - 1] = True
    # at a saddle each set pixel has its own corner: the left one first (its edge goes left), and
    # that pixel is below only in the case top right + bottom left
    left_is_low = code == _TOP_RIGHT | _BOTTOM_LEFT
    return _Corners(x.astype(np.int64), y.astype(np.int64), code, second ^ left_is_low)


def _rings(corners: _Corners) -> list[IntArray]:
    """Closed rings as indices of corners, each from its topmost, leftmost corner to the right."""
    count = len(corners.x)
    # along a row corners pair up as ends of horizontal edges, along a column as of vertical ones
    order = np.lexsort((corners.down, corners.y, corners.x))
    vertical = np.empty(count, np.int64)
    vertical[order[0::2]], vertical[order[1::2]] = order[1::2], order[0::2]
    step: list[int] = vertical.tolist()
    seen = bytearray(count)
    rings = []
    for start in range(0, count, 2):
        if seen[start]:
            continue
        ring: list[int] = []
        at = start
        while not seen[at]:
            across = at ^ 1
            seen[at] = seen[across] = 1
            ring += (at, across)
            at = step[across]
        rings.append(np.array(ring, dtype=np.int64))
    return rings


def _split(ring: IntArray) -> list[tuple[IntArray, bool]]:
    """Cut a ring that touches itself into simple ones; with each, does it turn like the first."""
    keys = ring[:, 1] << 32 | ring[:, 0]
    if len(np.unique(keys)) == len(keys):
        return [(ring, True)]
    parts: list[IntArray] = []
    path: list[int] = []
    place: dict[int, int] = {}
    names = keys.tolist()
    for index, name in enumerate(names):
        if name in place:
            begin = place[name]
            parts.append(ring[path[begin:]])
            for dropped in path[begin:]:
                del place[names[dropped]]
            del path[begin:]
        place[name] = len(path)
        path.append(index)
    parts.append(ring[path])
    whole = _turn(ring) > 0
    return [(part, (_turn(part) > 0) == whole) for part in parts]


def _turn(ring: IntArray) -> int:
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _assembled(shells: list[IntArray], holes: list[IntArray]) -> shapely.MultiPolygon:
    outer = [shapely.linearrings(ring) for ring in shells]
    owned: list[list[shapely.LinearRing]] = [[] for _ in shells]
    if holes:
        polygons = shapely.polygons(outer)
        # a set pixel beside the hole's topmost, leftmost corner lies in the hole's own shell
        tops = [ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]] for ring in holes]
        tree = shapely.STRtree(shapely.points(np.array(tops) + np.array([0.5, -0.5])))
        shell, hole = tree.query(polygons, predicate="contains")
        # nested tissue: the smallest of the shells around is the one it belongs to
        order = np.lexsort((-shapely.area(polygons)[shell], hole))
        owner = dict(zip(hole[order].tolist(), shell[order].tolist(), strict=True))
        for number, ring in enumerate(holes):
            owned[owner[number]].append(shapely.linearrings(ring))
    return shapely.MultiPolygon(
        [shapely.Polygon(ring, inner) for ring, inner in zip(outer, owned, strict=True)]
    )


def _simplified(exact: shapely.MultiPolygon, tolerance_px: float) -> shapely.MultiPolygon:
    """Fewer corners, still valid and every piece still there."""
    parts = np.array(exact.geoms)
    simple = shapely.simplify(parts, tolerance_px, preserve_topology=False)
    # the careful rule takes fifteen times as long: only where the quick one fails
    bad = _broken(simple)
    simple[bad] = shapely.simplify(parts[bad], tolerance_px, preserve_topology=True)
    bad = _broken(simple)
    simple[bad] = parts[bad]
    whole = shapely.MultiPolygon(list(simple))
    if shapely.is_valid(whole):
        return whole
    # neighbours that were apart by less than the tolerance now cross
    merged = shapely.union_all(simple)
    polygons = [part for part in shapely.get_parts(merged) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(polygons)


def _broken(parts: NDArray[np.object_]) -> NDArray[np.bool_]:
    kind = shapely.get_type_id(parts)
    broken: NDArray[np.bool_] = (
        ~shapely.is_valid(parts) | shapely.is_empty(parts) | (kind != shapely.GeometryType.POLYGON)
    )
    return broken
