"""Point files of the published method: ground truth of a set in one text file, without images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AnnotationError
from pipeline.train.config import SourceConfig
from pipeline.train.fields import FRAME_PX, Field
from pipeline.train.loaders.faults import Faults
from pipeline.train.loaders.marks import cells_of

TRUTH_COLUMNS, FOUND_COLUMNS = 5, 2
"""Numbers per cell: x, y, two radii and a class in the truth; x, y in what was found."""


def load_paper(path: Path, source: SourceConfig, faults: Faults) -> Iterator[Field]:
    """Read lines of ``id n x1 y1 s1 s2 1 x2 ...`` in the 512-pixel frame; a line is a field.

    ``mpp_um`` is that of the frame: 0.3125 for BCData.
    """
    del faults  # a line that cannot be read leaves no field to go on with
    side = int(FRAME_PX)
    white = np.broadcast_to(np.uint8(255), (side, side, 3))
    for name, xy_px in read_points(path, TRUTH_COLUMNS).items():
        marks = cells_of(xy_px)
        yield Field(
            name,
            name,
            white,
            marks.xy_px[:, 0],
            marks.xy_px[:, 1],
            marks.label,
            source.image_mpp_um,
            has_pixels=False,
        )


def read_points(path: Path, columns: int) -> dict[str, NDArray[np.float64]]:
    """Read ``id n`` and n groups of ``columns`` numbers per line, x and y first.

    Returns
    -------
    dict
        Field name -> ``(n, 2)`` x, y as written; 512 itself is the frame's edge and stays inside.

    Raises
    ------
    AnnotationError
        Unreadable, or a line does not hold the numbers it says.
    """
    points: dict[str, NDArray[np.float64]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error}); copy it again") from error
    for number, line in enumerate(lines, start=1):
        try:
            name, count, *rest = line.split()
            rows = np.array(rest, np.float64).reshape(int(count), columns)
        except ValueError as error:
            raise AnnotationError(
                f"{path}:{number}: is not `id n` and n times {columns} numbers; copy it again"
            ) from error
        points[name] = np.minimum(rows[:, :2], np.nextafter(FRAME_PX, 0))
    return points
