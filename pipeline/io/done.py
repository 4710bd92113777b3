"""The done mark of a slide: what its files are, and what they were made with; written last."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.io.files import (
    PARTIAL_SUFFIX,
    output_errors,
    sha256_file,
    write_json_atomic,
)
from pipeline.io.staging import STAGED_NAME

DONE_NAME = "done.json"
WORK_NAME = ".work"
"""Folder of a slide that is not done yet: no result, in no done mark."""

WITHDRAWN_NAME = "withdrawn.json"
"""What a done mark said that did not hold, and why: the next run tells it and removes it."""

REFUSED_NAME = "refused.json"
"""Beside results that stand: with what they cannot be made, and why."""

_NO_RESULTS = frozenset({WORK_NAME, STAGED_NAME, DONE_NAME, WITHDRAWN_NAME, REFUSED_NAME})


@dataclass(frozen=True, slots=True)
class RunScoring:
    """How the run scored a slide that was scored otherwise since."""

    keys: Mapping[str, str]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DoneMark:
    """A valid ``done.json``."""

    keys: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    """``sha256`` and ``size`` by path below the slide's folder."""
    settings: Mapping[str, Any] | None = None
    """All settings of the last scoring; None where they are not known."""
    run: RunScoring | None = None
    """None where the run itself scored the slide last."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """Which run made it, from which files, and how much work it was: no part of any key."""


def write_done(
    folder: Path,
    keys: Mapping[str, str],
    *,
    settings: Mapping[str, Any] | None = None,
    run: RunScoring | None = None,
    made: Mapping[str, Any] | None = None,
) -> None:
    """Write ``done.json`` last: sha256 and size of every file of the slide, keys and settings.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    rewrite_done(folder, DoneMark(keys, describe_files(folder), settings, run, made or {}))


def rewrite_done(folder: Path, mark: DoneMark) -> None:
    """Write a done mark as it is given; its files stay as it describes them.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_json_atomic(folder / DONE_NAME, done_json(mark))


def done_json(mark: DoneMark) -> dict[str, Any]:
    """Plain values of a done mark, in the order they are written."""
    run = mark.run
    return {
        "schema": 1,
        "keys": dict(sorted(mark.keys.items())),
        "settings": mark.settings,
        "made": dict(mark.made),
        "run": None if run is None else {"keys": dict(run.keys), "settings": dict(run.settings)},
        "files": {name: dict(mark.files[name]) for name in sorted(mark.files)},
    }


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Sha256 and size of every result file below a folder.

    Raises
    ------
    OutputError
        A file cannot be read.
    """
    with output_errors(folder):
        return {
            path.relative_to(folder).as_posix(): {
                "sha256": sha256_file(path),
                "size": path.stat().st_size,
            }
            for path in _result_files(folder)
        }


def read_done(folder: Path) -> DoneMark | None:
    """Read the done mark of a slide; None where there is no valid one."""
    try:
        mark = json.loads((folder / DONE_NAME).read_bytes())
        sound = mark["schema"] == 1 and isinstance(mark["keys"], dict)
        for name, kept in mark["files"].items():
            sound = sound and isinstance(kept["size"], int) and isinstance(kept["sha256"], str)
            sound = sound and not Path(name).is_absolute() and ".." not in Path(name).parts
        run = mark.get("run")
        scoring = None if run is None else RunScoring(run["keys"], run["settings"])
        made = mark.get("made") or {}
        sound = sound and isinstance(made, dict)
        found = DoneMark(mark["keys"], mark["files"], mark.get("settings"), scoring, made)
        return found if sound else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def check_done(folder: Path, keys: Mapping[str, str]) -> bool:
    """Tell whether a slide is done with these keys: every file is there in its size."""
    mark = read_done(folder)
    return mark is not None and mark.keys == dict(keys) and not misfits(folder, mark)


def verify_done(folder: Path) -> list[str]:
    """Read every file again and name what does not hold; an empty list is a sound slide."""
    mark = read_done(folder)
    if mark is None:
        return [f"{folder.name}: no valid {DONE_NAME}"]
    return [f"{folder.name}/{problem}" for problem in unsound_files(folder, mark)]


def unsound_files(folder: Path, mark: DoneMark) -> list[str]:
    """Read every file again and name, below the folder, what is not what the mark says."""
    problems = []
    for name, kept in mark.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if path.is_symlink() or not path.is_file():
                problems.append(f"{name}: not a file any more")
            elif size != kept["size"]:
                problems.append(f"{name}: {size} bytes, not {kept['size']}")
            elif sha256_file(path) != kept["sha256"]:
                problems.append(f"{name}: content changed (sha256 differs)")
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"{name}: missing")
        except OSError as error:
            problems.append(f"{name}: cannot be read ({error.strerror})")
    return problems


def unknown_files(folder: Path, mark: DoneMark) -> list[str]:
    """Name the files in a slide's folder that its done mark does not know."""
    names = (path.relative_to(folder).as_posix() for path in _result_files(folder))
    return [name for name in names if name not in mark.files]


def withdraw_done(folder: Path, problems: Sequence[str] = ()) -> None:
    """Remove the done mark, so that the next run makes the slide again and tells why.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    mark = read_done(folder)
    said = {} if mark is None else {"keys": dict(mark.keys), "made": dict(mark.made)}
    with output_errors(folder):
        if problems:
            write_json_atomic(folder / WITHDRAWN_NAME, {"problems": list(problems), **said})
        (folder / DONE_NAME).unlink(missing_ok=True)


def misfits(folder: Path, mark: DoneMark) -> list[str]:
    """Name the files that are missing or of another size."""
    problems = []
    for name, kept in mark.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            problems.append(f"{folder.name}/{name}: missing")
            continue
        if size != kept["size"]:
            problems.append(f"{folder.name}/{name}: {size} bytes, not {kept['size']}")
    return problems


def _result_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] in _NO_RESULTS:
            continue
        if any(part.endswith(PARTIAL_SUFFIX) for part in parts):
            continue
        if path.is_file() and not path.is_symlink():
            yield path
