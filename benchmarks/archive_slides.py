"""An archive of small slides for benchmarks: good ones, each different, and bad ones of all kinds.

Two kinds of bad slides need help to be bad: :data:`SABOTAGE` goes on a run's ``PYTHONPATH`` as
``sitecustomize.py`` and makes the readers kill, crash or hang the worker that reads them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from tests.run.small_slides import spoil_tile, stained_tissue, write_slide

WIDTH, HEIGHT = 1300, 1100
"""Level-0 pixels of a slide: nine regions of the settings below."""

SETTINGS = """
[inputs]
settle_s = 0

[prediction]
model = "{model}"
tile_core_px = 128
region_tiles = 2

[tissue]
margin_um = 20.0

[score]
min_cells = 10

[cluster]
workers = {workers}
task_timeout_s = 45.0
"""

SABOTAGE = """
import ctypes, os, signal, sys, time
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


def _spoil(slide_class, names):
    opened = slide_class.__init__

    def init(self, path, *args, **kwargs):
        self._sabotage = os.path.basename(str(path))
        opened(self, path, *args, **kwargs)

    def spoiled(read):
        def call(self, *args, **kwargs):
            if "worker-killer" in self._sabotage:
                os.kill(os.getpid(), signal.SIGKILL)
            if "crashing" in self._sabotage:
                ctypes.string_at(0)
            if "hanging" in self._sabotage:
                time.sleep(1e6)
            return read(self, *args, **kwargs)

        return call

    slide_class.__init__ = init
    for name in names:
        setattr(slide_class, name, spoiled(getattr(slide_class, name)))


_READERS = {
    "pipeline.io.tiffslide_reader": "TiffSlideReader",
    "pipeline.io.openslide_reader": "OpenSlideReader",
}


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname not in _READERS:
            return None
        spec = PathFinder.find_spec(fullname, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            _spoil(getattr(module, _READERS[fullname]), ["read", "read_absent"])

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
"""


def write_good(folder: Path, number: int) -> Path:
    """Write one good slide, the same for the same number."""
    pixels = stained_tissue(number, width=WIDTH, height=HEIGHT)
    return write_slide(folder / f"slide-{number:04d}.tif", pixels)


def write_archive(folder: Path, slides: int, bad: int) -> tuple[list[str], dict[str, str]]:
    """Write ``slides`` slides, ``bad`` of them bad and spread evenly among the good ones.

    Returns
    -------
    good
        Names of the good slides.
    bad
        Kind of each bad slide, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    good, spoiled = [], {}
    every = slides // bad if bad else slides + 1
    kinds = list(_KINDS)
    for number in range(slides):
        if bad and number % every == every // 2 and len(spoiled) < bad:
            kind = kinds[len(spoiled) % len(kinds)]
            path = folder / f"slide-{number:04d}-{kind}.tif"
            _KINDS[kind](path)
            spoiled[path.name] = kind
        else:
            good.append(write_good(folder, number).name)
    return good, spoiled


def _whole(path: Path, *, mpp: float | None = 0.25) -> Path:
    return write_slide(path, stained_tissue(10_000, width=WIDTH, height=HEIGHT), mpp=mpp)


def _truncated(path: Path) -> None:
    _whole(path)
    path.write_bytes(path.read_bytes()[:-20_000])


def _damaged(path: Path) -> None:
    _whole(path)
    with tifffile.TiffFile(path) as slide:
        tiles = len(slide.pages[0].dataoffsets)  # type: ignore[union-attr]
    for index in range(tiles // 3, 2 * tiles // 3):
        spoil_tile(path, index)


def _white_noise_as_tiff(path: Path) -> None:
    path.write_bytes(b"II*\x00" + np.random.default_rng(0).bytes(50_000))


_KINDS: dict[str, Callable[[Path], object]] = {
    "truncated": _truncated,
    "worker-killer": _whole,
    "no-mpp": lambda path: _whole(path, mpp=None),
    "empty": lambda path: path.write_bytes(b""),
    "hanging": _whole,
    "wrong-mpp": lambda path: _whole(path, mpp=352.78),
    "damaged-tiles": _damaged,
    "crashing": _whole,
    "text": lambda path: path.write_text("not a slide\n" * 2000, encoding="ascii"),
    "noise": _white_noise_as_tiff,
}

REASONS: dict[str, tuple[str, ...]] = {
    "truncated": ("truncated",),
    "worker-killer": ("worker killed repeatedly",),
    "no-mpp": ("--mpp",),
    "empty": ("the file is empty",),
    # where workers are killed all the time, none may live until the deadline
    "hanging": ("did not end", "worker killed repeatedly"),
    "wrong-mpp": ("um per pixel in the file cannot be true",),
    "damaged-tiles": ("cannot be read",),
    "crashing": ("Segmentation fault",),
    "text": ("no slide format",),
    "noise": ("truncated",),
}
"""Words that the reason fitting each kind has; one of several."""
