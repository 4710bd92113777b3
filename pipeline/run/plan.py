"""The work folder of a slide that is not done: its key, its plan, its tissue, its regions."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.core.frame import PlaneFrame
from pipeline.core.qc.look import Glass, OverviewQuality
from pipeline.core.tiling import RegionGrid, TileLattice
from pipeline.errors import SlideError
from pipeline.io.files import atomic_path, write_json_atomic
from pipeline.io.results import DONE_NAME, WORK_NAME
from pipeline.io.score import SlideIdentity
from pipeline.run.job import Key, region_match

HEATMAP_NAME = "heatmap.ome.zarr"
REGION_SUFFIX = ".region"


class StaleWorkError(SlideError):
    """The work folder is not what the slide's tasks agreed on; planning anew mends it."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What the reader says about a slide."""

    name: str
    fingerprint: str
    reader: str
    vendor: str | None
    width: int
    height: int
    bounds: tuple[int, int, int, int]
    """x, y, width, height in level-0 pixels."""
    mpp: tuple[float, float]
    mpp_source: str
    objective: float | None

    def identity(self, slide_id: str) -> SlideIdentity:
        """The ``slide`` block of score.json."""
        return SlideIdentity(id=slide_id, **asdict(self))


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the tasks of one slide have to agree on."""

    key: Key
    slide: SlideFacts
    frame: PlaneFrame
    """The model frame."""
    overview: PlaneFrame
    """The frame of the tissue mask; same origin."""
    picture: PlaneFrame
    """The frame of the thumbnail; a whole number of times finer than the mask's."""
    tissue_um_per_px: float
    tissue_mm2: float
    mpp_um: float
    """Of the model frame, what the model works at."""
    core_px: int
    square_px: int
    halo_px: int
    region_tiles: int
    window: int
    floor: float
    tiles: int
    """Tiles with tissue."""
    squares: int
    """Squares of tiles with tissue: what is predicted, and what may be damaged."""
    regions: tuple[int, ...]
    """Regions with such a tile in the order they are sent, dearest first; others never are."""
    started: str
    """UTC time the slide was first opened."""

    @property
    def grid(self) -> RegionGrid:
        """The regions of the slide."""
        lattice = TileLattice(
            self.frame.width, self.frame.height, self.core_px, self.halo_px, square=self.square_px
        )
        return RegionGrid(lattice, self.region_tiles)

    @property
    def match(self) -> str:
        """The mark that this plan's region files carry."""
        return region_match(self.key, self.region_tiles)


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """Where the cells are looked for."""

    mask: NDArray[np.bool_]
    """``(H, W)``, pixels of the plan's overview."""
    near: NDArray[np.bool_]
    """The mask and its margin: cells in it are kept."""
    squares: NDArray[np.bool_]
    """``(rows, cols)`` of the lattice's squares: those to predict."""
    thumbnail: NDArray[np.uint8]
    """``(H, W, 3)`` RGB, pixels of the plan's picture, empty where only masks were asked."""


def work_folder(slide_folder: Path) -> Path:
    """Where the unfinished work of a slide is kept."""
    return slide_folder / WORK_NAME


def region_path(work: Path, index: int) -> Path:
    """The done mark of one region."""
    return work / "regions" / f"{index:05d}{REGION_SUFFIX}"


@dataclass(frozen=True, slots=True)
class BegunWork:
    """Whose work a work folder holds."""

    key: Key
    score: Key
    members: Mapping[str, Mapping[str, Any]]
    """The slide's files: see :meth:`pipeline.io.fingerprint.SlideContent.as_json`."""


def write_key(
    work: Path,
    key: Key,
    score: Key,
    members: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Say whose work this folder is to hold, before the slide is opened."""
    stored = {"prediction": key, "score": score, "members": dict(members or {})}
    write_json_atomic(work / "key.json", stored)


def read_key(work: Path) -> tuple[Key, Key] | None:
    """Return the prediction key and the score key of a work folder, None without one."""
    begun = read_work(work)
    return None if begun is None else (begun.key, begun.score)


def read_work(work: Path) -> BegunWork | None:
    """Return whose work a folder holds, None where it does not say."""
    stored = read_json_object(work / "key.json")
    if stored is None:
        return None
    return BegunWork(stored["prediction"], stored["score"], stored.get("members", {}))


def write_plan(work: Path, plan: Plan) -> None:
    """Write the plan in one step."""
    write_json_atomic(work / "plan.json", asdict(plan))


PlanMark = tuple[int, int, int]


def plan_mark(work: Path) -> PlanMark:
    """What tells one plan of a slide from the next: its file is written last, and anew each time.

    Raises
    ------
    StaleWorkError
        There is none.
    """
    try:
        found = (work / "plan.json").stat()
    except OSError as error:
        raise StaleWorkError(f"{work.parent.name}: no plan; run again") from error
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_plan(work: Path) -> Plan:
    """Read the plan.

    Raises
    ------
    StaleWorkError
        There is none, or an earlier version of the program made it.
    """
    try:
        stored = read_json_object(work / "plan.json") or {}
        slide = stored["slide"]
        slide["bounds"], slide["mpp"] = tuple(slide["bounds"]), tuple(slide["mpp"])
        return Plan(
            **stored
            | {name: PlaneFrame(**stored[name]) for name in ("frame", "overview", "picture")}
            | {"slide": SlideFacts(**slide), "regions": tuple(stored["regions"])}
        )
    except (KeyError, TypeError) as error:
        raise StaleWorkError(f"{work.parent.name}: no plan of this version; run again") from error


def write_tissue(work: Path, tissue: Tissue) -> None:
    """Write masks and picture in one step."""
    with atomic_path(work / "tissue.npz") as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            mask=tissue.mask,
            near=tissue.near,
            squares=tissue.squares,
            thumbnail=tissue.thumbnail,
        )


def read_tissue(work: Path) -> Tissue:
    """Read everything :func:`write_tissue` wrote; StaleWorkError where there is none."""
    with _stored(work, "tissue.npz") as stored:
        return Tissue(stored["mask"], stored["near"], stored["squares"], stored["thumbnail"])


def read_tissue_squares(work: Path) -> NDArray[np.bool_]:
    """``(rows, cols)`` of the lattice's squares: those to predict."""
    with _stored(work, "tissue.npz") as stored:
        return np.asarray(stored["squares"], bool)


def write_look(work: Path, look: OverviewQuality) -> None:
    """Write what the overview said of the slide's quality in one step."""
    with atomic_path(work / "look.npz") as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            glass=np.array(look.glass),
            ink=look.ink,
            numbers=np.array([look.edge_um, look.mask_agreement]),
        )


def read_look(work: Path) -> OverviewQuality:
    """Read what :func:`write_look` wrote; StaleWorkError where there is none."""
    with _stored(work, "look.npz") as stored:
        edge_um, agreement = (float(value) for value in stored["numbers"])
        return OverviewQuality(_glass(stored), stored["ink"], edge_um, agreement)


def read_glass(work: Path) -> Glass:
    """Read the colour of empty glass alone: every region asks for it, and the ink is large."""
    with _stored(work, "look.npz") as stored:
        return _glass(stored)


@contextmanager
def _stored(work: Path, name: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    try:
        with np.load(work / name, allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        (work / "plan.json").unlink(missing_ok=True)  # of no use alone: the slide is planned anew
        raise StaleWorkError(f"{work.parent.name}: no plan of this version; run again") from error


def _glass(stored: Mapping[str, NDArray[Any]]) -> Glass:
    red, green, blue = (float(value) for value in stored["glass"])
    return red, green, blue


def missing_regions(work: Path, plan: Plan) -> list[int]:
    """Regions of the plan that have no file."""
    return [index for index in plan.regions if not region_path(work, index).exists()]


def empty_folder(folder: Path) -> None:
    """Remove everything in a slide's folder, the done mark first."""
    (folder / DONE_NAME).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def utc_now() -> str:
    """Time stamp of now, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where there is none or it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # only a damaged disk leaves half a file under its final name
        return None
    return stored if isinstance(stored, dict) else None
