"""Small slides made on the spot, and what must be equal between two runs of one of them."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

MPP = 0.25
WIDTH, HEIGHT = 2048, 1536
JPEG_TILE = 256

Pixels = NDArray[np.uint8]


def stained_tissue(seed: int, *, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """A piece of pale tissue with brown and blue nuclei on glass, ``(height, width, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), (244, 244, 242), np.int16)
    y, x = np.mgrid[:height, :width]
    inside = ((x / width - 0.5) / 0.36) ** 2 + ((y / height - 0.5) / 0.36) ** 2 < 1
    pixels[inside] = (200, 206, 214)
    for number in range(width * height // 2500):
        centre_x, centre_y = rng.uniform(24, width - 24), rng.uniform(24, height - 24)
        if not inside[int(centre_y), int(centre_x)]:
            continue
        radius = rng.uniform(10, 14)
        x0, y0 = int(centre_x) - 16, int(centre_y) - 16
        near_y, near_x = np.mgrid[y0 : y0 + 32, x0 : x0 + 32]
        disc = (near_x - centre_x) ** 2 + (near_y - centre_y) ** 2 < radius**2
        colour = (120, 80, 50) if number % 4 == 0 else (96, 108, 156)
        pixels[y0 : y0 + 32, x0 : x0 + 32][disc] = colour
    pixels += rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: Pixels, *, mpp: float | None = MPP) -> Path:
    """A tiled JPEG TIFF of two levels, 1 and 1/4; without mpp no resolution tag.

    The model frame is half of level 0, so it is made from level 0.
    """
    tags: dict[str, Any] = {}
    if mpp is not None:
        tags = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 4):
            writer.write(
                pixels[::step, ::step],
                tile=(JPEG_TILE, JPEG_TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                subfiletype=0 if step == 1 else 1,
                metadata=None,
                **(tags if step == 1 else {}),
            )
    return path


def spoil_tile(path: Path, index: int) -> None:
    """Overwrite the compressed bytes of one level-0 tile."""
    with tifffile.TiffFile(path) as slide:
        page = slide.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offset, size = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)


def result_bytes(out: Path, slide: str = "") -> dict[str, bytes]:
    """What must be equal whatever the workers, kills and region sizes: scores, cells, chunks.

    Of all slides, or of those whose id begins so.
    """
    found = {}
    for path in sorted(out.glob(f"slides/{slide}*/**/*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and path.name != "done.json" and "/.work/" not in name:
            found[name] = _score(path) if path.name == "score.json" else path.read_bytes()
    return found


def _score(path: Path) -> bytes:
    """A score without its times, and without the digest that the region size goes into."""
    record = json.loads(path.read_bytes())
    for name in ("started", "ended", "config_sha256"):
        del record["provenance"][name]
    return json.dumps(record, indent=1).encode()


def children(pid: int) -> list[int]:
    """Processes below a process, nearest first."""
    below: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        below += [int(word) for word in thread.read_text(encoding="ascii").split()]
    return below + [grandchild for child in below for grandchild in children(child)]


def fork_servers() -> list[int]:
    """The server whose forks the workers are, if it runs."""
    forks = worker_processes()
    return [pid for pid in _forked(os.getpid()) if pid not in forks]


def worker_processes() -> list[int]:
    """Worker processes of the clusters that this process runs."""
    return [fork for server in _forked(os.getpid()) for fork in children(server)]


def _forked(pid: int) -> list[int]:
    return [child for child in children(pid) if b"forkserver" in _command(child)]


def gone(pids: list[int], *, within_s: float) -> bool:
    """Whether all of the processes have ended by then."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if not any(_command(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
