"""Cells as a GeoDataFrame, for notebooks and GIS; the pipeline itself works on columns.

A module of its own, so that no task pays for importing geopandas.
"""

from pathlib import Path

import geopandas

from pipeline.errors import OutputError


def read_cells_frame(path: Path) -> geopandas.GeoDataFrame:
    """Read cells.parquet or candidates.parquet as points on level 0, without a crs.

    Returns
    -------
    geopandas.GeoDataFrame
        Columns geometry, x_l0, y_l0 (level-0 pixels, centres at +0.5), score, label
        ("positive" or "negative").

    Raises
    ------
    OutputError
        The file is missing or no GeoParquet.
    """
    try:
        return geopandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path.name}: cannot be read as GeoParquet: {error}") from error
