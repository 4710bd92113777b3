"""Loaded by a worker before its first task: a slide's name says what reading it does.

Nothing of the pipeline knows of this file; it stands for a damaged slide in a C library.
"""

import ctypes
import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.io import slides

HOG_BYTES = 64 * 2**20
"""Of each bite; small enough for the worker's own look at its memory in between."""


class PoisonedReader:
    """A slide whose level 0 does harm; the overview before it is read without."""

    def __init__(self, reader: slides.SlideReader, name: str) -> None:
        self._reader, self._name = reader, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        if level == 0:
            _harm(self._name)
        return self._reader.read(level, x, y, width, height)


def _harm(name: str) -> None:
    if name.startswith("crash"):
        ctypes.string_at(0)
    elif name.startswith("hang"):
        time.sleep(3600)
    elif name.startswith("freeze"):
        ctypes.PyDLL(None).sleep(3600)  # and nobody else gets the interpreter
    elif name.startswith("greedy"):
        eaten = []
        while True:
            eaten.append(os.urandom(1) * HOG_BYTES)
            time.sleep(0.08)
    elif name.startswith("stale"):
        once = Path(os.environ["KI67_TEST_STALE"])
        if once.exists():
            once.unlink()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _open_poisoned(path: Path, *words: Any, **more: Any) -> Any:
    return PoisonedReader(_open(path, *words, **more), Path(path).name)


if slides.open_slide.__name__ != _open_poisoned.__name__:  # a file may be loaded twice
    _open = slides.open_slide
    slides.open_slide = _open_poisoned

# here, so that no deadline counts the time of an import
import torch  # noqa: E402, F401

from pipeline.run import finalise, region  # noqa: E402, F401

# what the worker was forked with has taken the name before
for module in list(sys.modules.values()):
    if getattr(module, "open_slide", None) is _open:
        module.open_slide = _open_poisoned  # type: ignore[attr-defined]
