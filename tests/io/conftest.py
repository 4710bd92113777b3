"""Slides written on the spot: vendors' formats from `tests/vendor`, and plain TIFF pyramids."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

VENDOR = Path(__file__).resolve().parents[1] / "vendor"

Pixels = NDArray[np.uint8]


def writer(name: str) -> ModuleType:
    """Import one of the scripts that write vendors' formats."""
    if str(VENDOR) not in sys.path:
        sys.path.append(str(VENDOR))
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def vendor_writer() -> Callable[[str], ModuleType]:
    """Give the scripts of `tests/vendor` by name."""
    return writer


@pytest.fixture(scope="session")
def scene_pixels() -> Callable[..., Pixels]:
    """Give `scene.render`, the truth of MIRAX, DICOM and NDPI slides."""
    render: Callable[..., Pixels] = writer("scene").render
    return render


@pytest.fixture(scope="session")
def vendor_image() -> Pixels:
    """The level-0 pixels that vendors' TIFFs are written from."""
    image: Pixels = writer("vendor_tiffs").tissue(1000, 1100)
    return image


@pytest.fixture(scope="session")
def vendor_tiff(
    tmp_path_factory: pytest.TempPathFactory, vendor_image: Pixels
) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Write a vendor's TIFF once a session: (path, facts). Tiles are lossless."""
    folder = tmp_path_factory.mktemp("vendor")
    made: dict[str, tuple[Path, dict[str, Any]]] = {}
    tiffs = writer("vendor_tiffs")
    writer("vendor_bif")

    def write(name: str) -> tuple[Path, dict[str, Any]]:
        if name not in made:
            path = folder / f"{name}.tif"
            made[name] = path, tiffs.write(name, path, vendor_image, lossless=True)
        return made[name]

    return write


@pytest.fixture(scope="session")
def write_pyramid() -> Callable[..., Path]:
    """Write a tiled TIFF: level 0 and the further levels given, lossless."""

    def write(path: Path, levels: list[Pixels], *, mpp: float | None = 0.25) -> Path:
        with tifffile.TiffWriter(path) as tif:
            for level, pixels in enumerate(levels):
                per_cm = None if mpp is None else 1e4 / mpp / 2**level
                tif.write(
                    pixels,
                    tile=(256, 256),
                    photometric="rgb",
                    compression="adobe_deflate",
                    subfiletype=int(level > 0),
                    resolution=per_cm and (per_cm, per_cm),
                    resolutionunit="CENTIMETER" if per_cm else None,
                    metadata=None,
                    software=False,
                )
        return path

    return write


@pytest.fixture(scope="session")
def halved() -> Callable[[Pixels], Pixels]:
    """Average blocks of 2 x 2 and drop the odd last row and column, as scanners do."""

    def halve(pixels: Pixels) -> Pixels:
        h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
        whole = pixels[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).astype(np.uint16)
        mean: Pixels = ((whole.sum((1, 3)) + 2) // 4).astype(np.uint8)
        return mean

    return halve
