"""Versions that driver and workers must share: what pickles, and what results depend on."""

import functools
import platform
from importlib.metadata import PackageNotFoundError, version

from pipeline import RESULTS_VERSION, __version__

Versions = tuple[tuple[str, str], ...]
"""Names and versions; plain text, so that an older program can read it too."""

_RESULT_LIBRARIES = ("scipy", "zarr", "tifffile", "tiffslide", "openslide-python")


@functools.cache
def decisive_versions() -> Versions:
    """Versions of this process whose difference breaks pickles or can change results."""
    return (
        ("python", ".".join(platform.python_version_tuple()[:2])),
        ("ki67-pipeline", __version__),
        ("results_version", str(RESULTS_VERSION)),
        ("distributed", _installed("distributed")),
        ("torch", _installed("torch")),
        ("numpy", _installed("numpy").partition(".")[0]),
    )


@functools.cache
def other_versions() -> Versions:
    """Versions of this process that are worth a word when they differ."""
    return tuple((name, _installed(name)) for name in ("numpy", *_RESULT_LIBRARIES))


def all_versions() -> tuple[Versions, Versions]:
    """Both, to be asked of another process."""
    return decisive_versions(), other_versions()


def differences(ours: Versions, theirs: Versions) -> str:
    """What differs, in words: ``torch 2.12.0 (driver: 2.13.0)``; empty when nothing does."""
    there = dict(theirs)
    return ", ".join(
        f"{name} {there.get(name, 'unknown')} (driver: {here})"
        for name, here in ours
        if there.get(name) != here
    )


def _installed(distribution: str) -> str:
    """Version without the local part: builds for CPU and CUDA of one release are the same."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return "none"
