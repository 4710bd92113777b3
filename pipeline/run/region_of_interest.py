"""The region of interest of one slide of a run: its file, what marks it in the key, its area."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.core.tiling import Box
from pipeline.errors import AnnotationError, ConfigError, SlideError
from pipeline.io.annotations import (
    Roi,
    RoiClasses,
    find_roi,
    list_rois,
    read_roi,
    roi_sha256,
    unused_rois,
)
from pipeline.io.files import sha256_file
from pipeline.run.job import NO_ROI, ROI_MISSING, ROI_PART, SlideJob
from pipeline.run.plan import Plan

CALIBRATION_PART = "score.calibration"
NO_CALIBRATION = "none"


class RegionOfInterestError(SlideError):
    """The slide's region of interest is missing, ambiguous or cannot be read."""


def absolute_files(config: RunConfig) -> RunConfig:
    """Give the paths of other files absolutely: a worker stands elsewhere.

    Raises
    ------
    ConfigError
        The folder of regions of interest is not there.
    """
    folder, calibration = config.roi.folder, config.score.calibration
    if folder:
        try:
            list_rois(Path(folder))
        except AnnotationError as error:
            raise ConfigError(f"roi.folder: {error}") from error
        roi = config.roi.model_copy(update={"folder": str(Path(folder).resolve())})
        config = config.model_copy(update={"roi": roi})
    if config.roi.file:
        roi = config.roi.model_copy(update={"file": str(Path(config.roi.file).resolve())})
        config = config.model_copy(update={"roi": roi})
    if calibration:
        score = config.score.model_copy(update={"calibration": str(Path(calibration).resolve())})
        config = config.model_copy(update={"score": score})
    return config


def roi_path(job: SlideJob) -> Path | None:
    """Return the region file of a slide; None where no regions are asked for, or it has none.

    Raises
    ------
    RegionOfInterestError
        More than one could be meant, or one is required and there is none.
    """
    settings = job.config.roi
    if settings.file:
        return _own_file(job, Path(settings.file))
    if not settings.folder:
        return None
    try:
        path = find_roi(list_rois(Path(settings.folder)), slide_id=job.slide_id, name=job.name)
    except AnnotationError as error:
        raise RegionOfInterestError(f"{job.name}: {error}") from error
    if path is None and settings.required:
        raise RegionOfInterestError(
            f"{job.name}: no region of interest in {Path(settings.folder).name}/; name its file "
            f"{Path(job.name).stem}.geojson, or leave roi.required out"
        )
    return path


def _own_file(job: SlideJob, path: Path) -> Path:
    if not path.is_file():
        raise RegionOfInterestError(
            f"{job.name}: its region of interest {path.name} is not there; correct the roi column "
            "of the manifest or roi.file"
        )
    return path


def roi_mark(job: SlideJob) -> str:
    """Return what stands in the score key: the sha256 of the file, or that there is none.

    Raises
    ------
    RegionOfInterestError
        See :func:`roi_path`; or the file cannot be read.
    """
    if not (job.config.roi.folder or job.config.roi.file):
        return NO_ROI
    path = roi_path(job)
    try:
        return ROI_MISSING if path is None else roi_sha256(path)
    except AnnotationError as error:
        raise RegionOfInterestError(f"{job.name}: {error}") from error


def unused_region_files(jobs: Sequence[SlideJob]) -> list[str]:
    """One line naming the region files that belong to no slide, most likely misspelt; or none."""
    folders = sorted({job.config.roi.folder for job in jobs if job.config.roi.folder})
    lines = []
    for folder in folders:
        used = []
        for job in jobs:
            with suppress(RegionOfInterestError):
                path = roi_path(job)
                used += [] if path is None else [path]
        if names := unused_rois(list_rois(Path(folder)), used):
            lines.append(f"{Path(folder).name}/: no slide is named like {', '.join(names[:10])}")
    return lines


def roi_missing(job: SlideJob) -> bool:
    """Whether regions of interest are asked for and the slide has none."""
    return bool(job.config.roi.folder) and roi_path(job) is None


def score_files(job: SlideJob) -> dict[str, str]:
    """Mark the files besides the slide that its score is made from, for the score key.

    Raises
    ------
    RegionOfInterestError
        See :func:`roi_mark`.
    ConfigError
        The calibration cannot be read.
    """
    return {ROI_PART: roi_mark(job), CALIBRATION_PART: _calibration_mark(job)}


def marked_files(job: SlideJob) -> tuple[dict[str, str], RegionOfInterestError | None]:
    """Mark the same files; a region of interest that cannot be used by what is wrong with it.

    So the failure is known next time. The error comes with it.

    Raises
    ------
    ConfigError
        The calibration cannot be read.
    """
    try:
        return score_files(job), None
    except RegionOfInterestError as error:
        return {ROI_PART: f"refused: {error}", CALIBRATION_PART: _calibration_mark(job)}, error


def _calibration_mark(job: SlideJob) -> str:
    name = job.config.score.calibration
    if not name:
        return NO_CALIBRATION
    try:
        return sha256_file(Path(name))
    except OSError as error:
        raise ConfigError(f"score.calibration={name}: cannot be read ({error.strerror})") from error


def load_roi(job: SlideJob, plan: Plan) -> Roi | None:
    """Read the region of interest of a slide; None where it is scored whole.

    Raises
    ------
    RegionOfInterestError
        The file is missing, damaged, or holds no area on the slide.
    """
    path = roi_path(job)
    if path is None:
        return None
    settings = job.config.roi
    x_l0, y_l0, width, height = plan.slide.bounds
    try:
        return read_roi(
            path,
            bounds=Box(x_l0, y_l0, x_l0 + width, y_l0 + height),
            classes=RoiClasses(settings.include, settings.exclude),
        )
    except AnnotationError as error:
        raise RegionOfInterestError(f"{job.name}: {error}") from error
