"""Slides below a URL: a prefix, a folder of a web server or a pattern, by the rules of a search."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec.utils import glob_translate

from pipeline.errors import ConfigError, UnreachableSlideError
from pipeline.io.objects import connect, persistently, state_of
from pipeline.io.patterns import Wanted
from pipeline.io.remote import is_web, shown, url_name, url_path
from pipeline.io.remote_slides import series_of
from pipeline.io.searching import Found, is_picture, is_slide_name, is_upload
from pipeline.io.slides import SUFFIXES

_Sized = tuple[str, PurePosixPath, int]
"""URL, path below the input, bytes."""


def list_slides(url: str, wanted: Wanted) -> list[tuple[str, str]]:
    """List the slides behind a URL: ``(URL, path below the input)``.

    A URL that ends in a slash, that has a star or that names a prefix is searched, all levels
    down; any other is one slide, whether it is there or not. ``file://`` gives local paths.

    Raises
    ------
    ConfigError
        Nothing there is a slide, no library reads this kind of URL, or the store does not answer
        or gives no access.
    """
    try:
        return _listed(url, wanted)
    except UnreachableSlideError as error:
        raise ConfigError(str(error)) from error


def _listed(url: str, wanted: Wanted) -> list[tuple[str, str]]:
    if url.lower().startswith("file://"):
        return [(local := unquote(urlsplit(url).path), Path(local).name)]
    if not _is_search(url):
        return [(url, shown(url).partition("://")[2])]
    found, taken = Found(), []
    listed = _own_slides(list(_below(url)), found)
    for location, relative, _ in listed:
        if wanted.takes(relative):
            taken.append((location, str(relative)))
        else:
            found.unwanted += 1
    if not taken:
        found.needed(shown(url), "no slides there")
    return taken


def _is_search(url: str) -> bool:
    if (url.partition("?")[0] if is_web(url) else url).endswith("/") or _has_magic(url):
        return True
    if PurePosixPath(url_name(url)).suffix.lower() in SUFFIXES:
        return False
    store, path = connect(url)
    return not is_web(url) and bool(persistently(url, lambda: store.isdir(path)))


def _has_magic(url: str) -> bool:
    return "*" in (url.partition("?")[0] if is_web(url) else url)


def _below(url: str) -> Iterator[_Sized]:
    """Every object a search comes upon, in the order of the paths."""
    store, path = connect(url)
    top = path[: path.index("*")].rpartition("/")[0] if _has_magic(url) else path.rstrip("/")
    entries = persistently(url, lambda: _entries(store, path, top, searched=not _has_magic(url)))
    if not entries and "://" not in top:
        persistently(url, lambda: store.ls(top.partition("/")[0]))  # says if it is not there
    for name in sorted(entries):
        entry: dict[str, Any] = entries[name]
        location = str(store.unstrip_protocol(name))
        if entry.get("type") == "directory" or not name.startswith(f"{top}/"):
            continue
        below = url_path(location)[len(url_path(str(store.unstrip_protocol(f"{top}/")))) :]
        yield location, PurePosixPath(below.lstrip("/")), int(entry.get("size") or 0)


def _entries(store: Any, path: str, top: str, *, searched: bool) -> dict[str, dict[str, Any]]:
    """Objects by name. A folder that cannot be listed is an error: its slides would be missed."""
    if "s3" in store.protocol:  # asks for a thousand names at once
        found = store.find(path, detail=True) if searched else store.glob(path, detail=True)
        return dict(found)
    listed: dict[str, dict[str, Any]] = {}
    for _, _, files in store.walk(f"{top}/", detail=True, on_error="raise"):
        listed |= {entry["name"]: entry for entry in files.values()}
    if searched:
        return listed
    wanted = re.compile(glob_translate(path))
    return {name: entry for name, entry in listed.items() if wanted.fullmatch(name)}


def _own_slides(objects: list[_Sized], found: Found) -> list[_Sized]:
    """Leave out what is hidden, under way, or belongs to another slide."""
    found.arriving += [place.name for _, place, _ in objects if is_upload(place.name)]
    seen = [sized for sized in objects if not any(p.startswith(".") for p in sized[1].parts)]
    mirax = {place.with_suffix("") for _, place, _ in seen if place.suffix.lower() == ".mrxs"}
    named = [
        sized
        for sized in seen
        if is_slide_name(sized[1].name) and not mirax & set(sized[1].parents)
    ]
    beside: dict[PurePosixPath, list[Path]] = {}
    for _, place, _ in named:
        beside.setdefault(place.parent, []).append(Path(place))
    rest = [s for s in named if not is_picture(Path(s[1]), beside[s[1].parent])]
    dicom = [sized for sized in rest if sized[1].suffix.lower() == ".dcm"]
    largest = _largest_of_series(dicom)
    return [sized for sized in rest if sized not in dicom or sized in largest]


def _largest_of_series(dicom: list[_Sized]) -> list[_Sized]:
    """List one object a series; one that is alone in its folder needs no look."""
    folders: dict[PurePosixPath, list[_Sized]] = {}
    for sized in dicom:
        folders.setdefault(sized[1].parent, []).append(sized)
    largest: dict[tuple[PurePosixPath, str], _Sized] = {}
    for folder, members in folders.items():
        for sized in members:
            uid = series_of(sized[0]) if len(members) > 1 else None
            key = folder, uid or sized[1].name
            if key not in largest or _bytes(sized) > _bytes(largest[key]):
                largest[key] = sized
    return list(largest.values())


def _bytes(sized: _Sized) -> int:
    """Size of an object; a web server's list of a folder does not say it."""
    return sized[2] or state_of(sized[0]).size
