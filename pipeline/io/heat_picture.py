"""A picture of the maps of one slide, for documents: slide, response and local index."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import OutputError
from pipeline.io.density import read_density
from pipeline.io.files import short_name, write_bytes_atomic
from pipeline.io.heatmap import read_level, read_plan
from pipeline.io.ome import CHANNEL_COLOURS
from pipeline.io.pictures import INDEX_SCALE_PCT, index_colour

_GAP_PX = 12
_TITLE_PX = 34
_INK = (40, 40, 40)
_WHITE = (255, 255, 255)


def write_heat_picture(slide_folder: Path, path: Path, *, panel_px: int = 520) -> None:
    """Write thumbnail, response map and local index of a slide side by side as a PNG.

    Parameters
    ----------
    slide_folder
        ``OUT/slides/<slide_id>`` of a run.
    path
        Of the PNG.
    panel_px
        Longer side of each of the three panels.

    Raises
    ------
    OutputError
        A file of the slide is missing, or the folder cannot be written.
    """
    panels = {
        "slide": _thumbnail(slide_folder),
        "response: positive, negative": response_picture(slide_folder),
        f"Ki-67 index per 50 um: 0 % to {INDEX_SCALE_PCT:g} %": index_picture(slide_folder),
    }
    sizes = [_fitted_size(panel.size, panel_px) for panel in panels.values()]
    width = sum(w for w, _ in sizes) + _GAP_PX * (len(sizes) + 1)
    height = max(h for _, h in sizes) + _TITLE_PX + 2 * _GAP_PX
    whole = Image.new("RGB", (width, height), _WHITE)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(18)
    left = _GAP_PX
    for (title, panel), size in zip(panels.items(), sizes, strict=True):
        smooth = panel.width > size[0]
        how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
        whole.paste(panel.resize(size, how), (left, _TITLE_PX + _GAP_PX))
        middle = _GAP_PX + _TITLE_PX // 2
        draw.text((left, middle), title, fill=_INK, font=font, anchor="lm")
        left += size[0] + _GAP_PX
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    write_bytes_atomic(path, stream.getvalue())


def response_picture(slide_folder: Path) -> Image.Image:
    """Both channels of the heatmap in their colours on black, of the level near 1000 px.

    Raises
    ------
    OutputError
        There is no heatmap.
    """
    heatmap = slide_folder / "heatmap.ome.zarr"
    plan = read_plan(heatmap)
    sizes = plan.level_sizes
    level = next((n for n, size in enumerate(sizes) if max(size) <= 1000), len(sizes) - 1)
    pixels = read_level(heatmap, level).astype(np.float64)
    # upper levels are means: a gain brings the peaks back to where eyes see them
    gain = 255.0 / max(1.0, float(np.percentile(pixels[pixels > 0], 99.5)) if pixels.any() else 1)
    mixed = np.zeros((*pixels.shape[1:], 3))
    for name, values in zip(plan.channels, pixels, strict=True):
        colour = CHANNEL_COLOURS.get(name, "FFFFFF")
        rgb = np.array([int(colour[n : n + 2], 16) for n in (0, 2, 4)])
        mixed += np.minimum(values * gain, 255.0)[..., None] / 255.0 * rgb
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def index_picture(slide_folder: Path) -> Image.Image:
    """Local index per bin in colours, white where no cell is; one pixel a bin.

    Raises
    ------
    OutputError
        There is no density map.
    """
    index = read_density(slide_folder / "density").index_pct
    some = ~np.isnan(index)
    colour = index_colour(np.nan_to_num(index).astype(np.float64))
    pixels: NDArray[np.float64] = np.where(some[..., None], colour, 255.0)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _thumbnail(slide_folder: Path) -> Image.Image:
    path = slide_folder / "thumbnail.jpg"
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except OSError as error:
        raise OutputError(
            f"{short_name(path)}: cannot be read; run `ki67 verify` and then the same `ki67 run`"
        ) from error


def _fitted_size(size: tuple[int, int], side_px: int) -> tuple[int, int]:
    scale = side_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
