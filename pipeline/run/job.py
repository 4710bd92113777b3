"""What travels to a task, and the keys that say whether a result still holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import RESULTS_VERSION
from pipeline.config import RunConfig, digest
from pipeline.errors import ConfigError
from pipeline.model.card import ModelCard

Key = dict[str, str]
"""Named parts as text, so that a difference can be named."""

REGION_FORM = 2
"""Of region files: one of another form counts as missing, and its region is predicted again."""
ROI_PART = "region of interest"
CONTENT_PART = "slide content"
NO_ROI = "none"
ROI_MISSING = "asked for, but there is none"


@dataclass(frozen=True, slots=True)
class SlideJob:
    """One slide of a run: small, picklable, all a task is given."""

    slide_id: str
    path: str = field(repr=False)
    """Local path or URL; a URL may hold a signature, and Dask writes a failed task's arguments."""
    name: str
    """Path below the input folder."""
    out: str
    config: RunConfig
    model_folder: str
    weights_sha256: str
    run_id: str
    retry_failed: bool = False
    versions: tuple[tuple[str, str], ...] = ()
    """Of the driver: a worker that has others refuses; empty: nobody asks."""
    group: str | None = None
    """The case the slide belongs to."""

    @property
    def roi_file(self) -> str | None:
        """File of its own region of interest, which a manifest named."""
        return self.config.roi.file

    @property
    def folder(self) -> Path:
        """Where the slide's results go."""
        return Path(self.out) / "slides" / self.slide_id


@dataclass(frozen=True, slots=True)
class CellRule:
    """How cells are read from heatmaps: the model card's rule with the run's changes."""

    window: int
    floor: float
    threshold: float
    halo_px: int

    @classmethod
    def of(cls, config: RunConfig, card: ModelCard) -> "CellRule":
        """The threshold and the halo are the card's unless the user set them.

        Raises
        ------
        ConfigError
            A pixel's window would reach beyond the neighbour of its region.
        """
        prediction, window = config.prediction, card.peak_rule().window
        if prediction.tile_core_px * prediction.region_tiles < window - 1:
            raise ConfigError(
                f"{card.name}: cells are told in windows of {window} px; raise "
                f"prediction.tile_core_px={prediction.tile_core_px} or "
                f"prediction.region_tiles={prediction.region_tiles}"
            )
        threshold = card.threshold if prediction.threshold is None else prediction.threshold
        halo_px = card.halo_px if prediction.halo_px is None else prediction.halo_px
        return cls(
            window=window,
            # a threshold under the card's floor must not be cut off by it
            floor=min(card.floor, threshold),
            threshold=threshold,
            halo_px=halo_px,
        )


def prediction_key(job: SlideJob, card: ModelCard, fingerprint: str) -> Key:
    """Everything that fixes the heatmap and its peaks; the region size does not."""
    config, rule = job.config, CellRule.of(job.config, card)
    parts = {
        "results_version": RESULTS_VERSION,
        CONTENT_PART: fingerprint,
        "model weights": job.weights_sha256,
        "model mpp_um": card.mpp_um,
        "model peak window": rule.window,
        "peak floor": rule.floor,
        "slides.reader": config.slides.reader,
        "slides.mpp": config.slides.mpp,
        "slides.assume_mpp": config.slides.assume_mpp,
        **{f"tissue.{name}": value for name, value in config.tissue},
        "prediction.tile_core_px": config.prediction.tile_core_px,
        "prediction.halo_px": rule.halo_px,
        "prediction.engine": card.engine(config.prediction.engine),
        "prediction.device": config.prediction.device.partition(":")[0],
        "prediction dtype": config.prediction.dtype,
        "heatmap.downsample": config.heatmap.downsample,
        "heatmap.ome_zarr": config.heatmap.ome_zarr,
    }
    return {name: str(value) for name, value in parts.items()}


def score_key(job: SlideJob, card: ModelCard, files: Mapping[str, str]) -> Key:
    """Everything besides the heatmap that fixes the files of a slide.

    Parameters
    ----------
    files
        What marks the content of other files that go into the score, by the name of the part: see
        :func:`pipeline.run.region_of_interest.score_files`.
    """
    config, parts = job.config, dict[str, object]()
    parts["prediction.threshold"] = CellRule.of(config, card).threshold
    parts["slides.max_unreadable_pct"] = config.slides.max_unreadable_pct
    for section in ("score", "hotspots", "category", "qc"):
        values = {f"{section}.{name}": value for name, value in getattr(config, section)}
        parts |= {name: value for name, value in values.items() if name not in files}
    parts |= files
    if files.get(ROI_PART, NO_ROI) not in (NO_ROI, ROI_MISSING):
        parts |= {"roi.include": config.roi.include, "roi.exclude": config.roi.exclude}
    parts["model card"] = digest(card.model_dump(mode="json"))
    return {name: str(value) for name, value in parts.items()}


def region_match(key: Key, region_tiles: int) -> str:
    """The mark of a region file: another region size cuts other regions."""
    return digest({"key": key, "region_tiles": region_tiles, "form": REGION_FORM})


def changed_parts(before: Key, after: Key) -> list[str]:
    """Names of the parts that differ, in the order of ``after``."""
    names = list(after) + [name for name in before if name not in after]
    return [name for name in names if before.get(name) != after.get(name)]
