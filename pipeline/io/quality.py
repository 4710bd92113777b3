"""A slide's quality measures as a small Zarr group: it is judged again without pixels."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pipeline.core.frame import PlaneFrame
from pipeline.core.qc.bins import MEASURES, BinLayout
from pipeline.core.qc.judge import MeasuredSlide, Quality
from pipeline.core.qc.look import OverviewQuality
from pipeline.errors import OutputError
from pipeline.io.files import atomic_folder, output_errors, short_name

QUALITY_NAME = "qc.zarr"
"""Its name in a slide's folder."""

SCHEMA = 1


def write_quality(
    path: Path, slide: MeasuredSlide, quality: Quality, *, unreadable: NDArray[np.bool_]
) -> None:
    """Write what a slide is judged from, and what was judged, in one step.

    Parameters
    ----------
    path
        Of the group; an earlier one is replaced.
    unreadable
        ``(H, W)`` bool in the frame of the tissue mask.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    with atomic_folder(path) as partial, output_errors(path.parent):
        group = zarr.open_group(LocalStore(partial), mode="w", zarr_format=3)
        group.attrs.update(_attributes(slide, quality))
        group.create_array("measures", data=slide.values, chunks=(1, *slide.values.shape[1:]))
        masks = {"tissue": slide.tissue, "ink": slide.overview.ink, "unreadable": unreadable}
        for name, mask in masks.items():
            group.create_array(name, data=mask.astype(np.uint8), chunks=mask.shape)
        excluded = group.create_group("excluded")
        for name, mask in quality.reasons.items():
            excluded.create_array(name, data=mask.astype(np.uint8), chunks=mask.shape)


def read_quality(path: Path) -> tuple[MeasuredSlide, NDArray[np.bool_]]:
    """Read what a slide is judged from, and its unreadable pixels, as they were written.

    Raises
    ------
    OutputError
        There is none, or another version of the program wrote it.
    """
    message = f"{short_name(path)}: no quality measures of this version; run the slide again"
    try:
        group = zarr.open_group(LocalStore(path, read_only=True), mode="r")
        facts: dict[str, Any] = dict(group.attrs)
        if (facts["schema"], tuple(facts["measures"])) == (SCHEMA, MEASURES):
            return _measured(group, facts), _mask(group, "unreadable")
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise OutputError(message) from error
    raise OutputError(message)


def _attributes(slide: MeasuredSlide, quality: Quality) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "measures": list(MEASURES),
        "bin_px": slide.layout.bin_px,
        "model_frame": asdict(slide.layout.frame),
        "overview_frame": asdict(slide.over),
        "um_per_px": slide.um_per_px,
        "glass": list(slide.overview.glass),
        "edge_um": slide.overview.edge_um,
        "mask_agreement": slide.overview.mask_agreement,
        "flags": list(quality.flags),
        "slide_measures": dict(quality.measures),
        "area_mm2": dict(quality.area_mm2),
    }


def _measured(group: zarr.Group, facts: dict[str, Any]) -> MeasuredSlide:
    red, green, blue = (float(value) for value in facts["glass"])
    return MeasuredSlide(
        values=np.asarray(_array(group, "measures"), np.float32),
        layout=BinLayout(PlaneFrame(**facts["model_frame"]), int(facts["bin_px"])),
        overview=OverviewQuality(
            glass=(red, green, blue),
            ink=_mask(group, "ink"),
            edge_um=float(facts["edge_um"]),
            mask_agreement=float(facts["mask_agreement"]),
        ),
        tissue=_mask(group, "tissue"),
        over=PlaneFrame(**facts["overview_frame"]),
        um_per_px=float(facts["um_per_px"]),
    )


def _mask(group: zarr.Group, name: str) -> NDArray[np.bool_]:
    return np.asarray(_array(group, name), bool)


def _array(group: zarr.Group, name: str) -> Any:
    array: Any = group[name]
    return array[:]
