"""Settings of a run: frozen sections, complete, with their defaults."""

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.cluster import ClusterSettings
from pipeline.config.section import Section

MPP_RANGE_UM = (0.08, 2.0)
"""Micrometres per pixel that a microscope slide scanner can have."""

WITHOUT_RESULTS = frozenset({"inputs", "cluster", "watching"})
"""Sections that change no result: they stand in no key and in no digest of a result."""

STRIDE_PX = 32
"""Total downsampling of the networks: tiles start and end on multiples of it."""


def _version_as_text(given: object) -> object:
    """0.4 for "0.4": a version reads as a number, in TOML and on the command line."""
    return str(given) if isinstance(given, float) else given


class InputSettings(Section):
    """Which slides are taken, and when; nothing of it changes a result."""

    include: tuple[str, ...] = Field((), description="patterns a slide's path must match; (): all")
    exclude: tuple[str, ...] = Field((), description="patterns of slides that are left out")
    settle_s: float = Field(
        30.0, ge=0, description="younger files are looked at twice; 0: taken as they are"
    )
    follow_links: bool = Field(False, description="into linked folders")
    fingerprint: Literal["sampled", "full"] = "sampled"
    scratch: str | None = Field(None, description="folder of copies of remote slides")
    scratch_gb: float = Field(50.0, gt=0, description="most that those copies may take")


class SlideSettings(Section):
    """How slides are opened."""

    reader: Literal["auto", "openslide", "tiffslide"] = "auto"
    mpp: float | None = Field(None, gt=0, description="overrides what the file says")
    assume_mpp: float | None = Field(None, gt=0, description="used only where the file is silent")
    max_unreadable_pct: float = Field(1.0, ge=0, le=100, description="of the tissue, by squares")


class TissueSettings(Section):
    """How tissue is told from glass."""

    mpp: float = Field(8.0, gt=0, description="of the overview the mask is made on")
    min_piece_mm2: float = Field(0.02, ge=0)
    margin_um: float = Field(50.0, ge=0, description="added around tissue when tiles are chosen")


class PredictionSettings(Section):
    """How the plane is cut and predicted. All of it except ``region_tiles`` can change results."""

    model: str = Field("default", description="a name of `ki67 models` or a folder")
    tile_core_px: int = Field(1536, gt=0, description="model-frame pixels, a multiple of 32")
    halo_px: int | None = Field(None, ge=0, description="a multiple of 32; None: the model card's")
    region_tiles: int = Field(1, gt=0, description="tiles per region side; changes no result")
    threshold: float | None = Field(None, gt=0, description="None: the model card's")
    device: str = Field("cpu", pattern=r"^(cpu|cuda)$")
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="of convolutions but the last; heatmaps and peaks are float32"
    )
    engine: Literal["auto", "torch", "onnxruntime"] = Field(
        "auto", description="auto: torch; onnxruntime where the model is an ONNX file"
    )

    @model_validator(mode="after")
    def _float16_is_for_devices(self) -> Self:
        if self.dtype == "float16" and self.device == "cpu":
            raise ValueError("dtype=float16 is for device=cuda; on a cpu use float32 or bfloat16")
        return self

    @model_validator(mode="after")
    def _tiles_keep_the_networks_phase(self) -> Self:
        for name in ("tile_core_px", "halo_px"):
            value = getattr(self, name)
            if value is not None and value % STRIDE_PX:
                raise ValueError(f"{name}={value} must be a multiple of {STRIDE_PX}")
        return self


class HeatmapSettings(Section):
    """The Zarr response map."""

    downsample: int = Field(4, gt=0, description="model-frame pixels per heatmap pixel")
    ome_zarr: Annotated[Literal["0.5", "0.4"], BeforeValidator(_version_as_text)] = "0.5"


class ScoreSettings(Section):
    """How cells become a number."""

    min_cells: int = Field(500, ge=1, description="below: status too_few_cells")
    bootstrap_block_um: float = Field(1000.0, gt=0, description="side of a resampled block")
    bootstrap_replicates: int = Field(2000, ge=100)
    field_um: float = Field(500.0, gt=0, description="side of a field of the unweighted mean")
    field_min_cells: int = Field(100, ge=1, description="fields with fewer are left out")
    seed: int = Field(0, ge=0, description="of resampling and of permutations")
    calibration: str | None = Field(
        None, description="a file of `ki67 calibrate`; None: as counted"
    )


class RoiSettings(Section):
    """In which region cells are counted: one file a slide, drawn in QuPath or a mask image."""

    folder: str | None = Field(None, description="of files named after the slides; None: no region")
    file: str | None = Field(None, description="of every slide; a manifest names one a slide")
    required: bool = Field(False, description="a slide without a file fails; false: all its tissue")
    include: tuple[str, ...] = Field(
        ("Tumor", "Tumour", "Region*"),
        min_length=1,
        description="classes counted in, * for any end",
    )
    exclude: tuple[str, ...] = Field(
        ("Necrosis", "Ignore*"), description="classes left out, * for any end"
    )

    @model_validator(mode="after")
    def _a_required_region_has_a_folder(self) -> Self:
        if self.required and not (self.folder or self.file):
            raise ValueError("required=true needs folder, where the regions of interest lie")
        return self


class HotspotSettings(Section):
    """How the places of highest labelling are searched."""

    count: int = Field(3, ge=0, description="non-overlapping hotspots; 0: none are searched")
    min_cells: int = Field(500, ge=1, description="of a hotspot")
    permutations: int = Field(99, ge=19, description="of the labels; p is at least 1 / (1 + them)")
    max_radius_um: float = Field(1000.0, gt=0, description="wider circles are no hotspots")


class CategorySettings(Section):
    """Which cut-offs give the index a word; none unless asked for."""

    scheme: Literal["none", "st_gallen_2013", "ikwg_5_30", "net_3_20", "own"] = "none"
    cutoffs: tuple[float, ...] = Field((), description="of scheme own, rising, percent")
    labels: tuple[str, ...] = Field((), description="of scheme own, one more than cut-offs")

    @model_validator(mode="after")
    def _only_own_cutoffs_are_given(self) -> Self:
        given = bool(self.cutoffs or self.labels)
        if given != (self.scheme == "own"):
            raise ValueError(
                f"scheme={self.scheme} with cutoffs={list(self.cutoffs)}: cutoffs and labels "
                "belong to scheme=own, and it needs both"
            )
        if given and len(self.labels) != len(self.cutoffs) + 1:
            raise ValueError(
                f"{len(self.cutoffs)} cutoffs need {len(self.cutoffs) + 1} labels, "
                f"got {len(self.labels)}"
            )
        ends = (0.0, *self.cutoffs, 100.0)
        if any(low >= high for low, high in pairwise(ends)):
            raise ValueError(f"cutoffs={list(self.cutoffs)} must rise between 0 and 100")
        return self


QcReason = Literal["out_of_focus", "pen", "fold", "debris", "pigment"]


class QcSettings(Section):
    """Quality control: what of the tissue is left out, and when a slide is flagged.

    All of it works on stored measures: `ki67 score` applies changes without the slide.
    """

    enabled: bool = Field(True, description="false: nothing is left out or flagged")
    exclude: tuple[QcReason, ...] = Field(
        ("out_of_focus", "pen", "fold", "debris"),
        description="reasons for which bins of 64 um are left out; pigment is a reason too",
    )
    min_bins: int = Field(3, ge=1, description="smaller groups of suspicious bins are kept")
    flag_area_pct: float = Field(1.0, gt=0, description="of the tissue left out for one reason")
    sharpness_min: float = Field(0.30, gt=0, description="energy of 2 um over that of 4 um detail")
    detail_min: float = Field(1.0, ge=0, description="less detail says nothing of focus")
    pen_share: float = Field(0.7, gt=0, le=1, description="of a bin, of the colour of ink")
    debris_share: float = Field(0.2, gt=0, le=1, description="of a bin, in large dark structures")
    fold_factor: float = Field(2.0, gt=1, description="times the slide's density between nuclei")
    fold_floor_min: float = Field(0.12, gt=0, description="least density that is multiplied")
    fold_nuclei_factor: float = Field(1.2, gt=0, description="times the slide's dense nuclei")
    pigment_share: float = Field(0.045, gt=0, le=1, description="of a bin, brown and no nucleus")
    ink_mm2: float = Field(0.05, gt=0, description="ink on the overview that raises pen")
    pink_share_max: float = Field(0.2, gt=0, le=1, description="more eosin-like: not_ki67_like")
    brown_share_min: float = Field(0.0005, ge=0, description="less of the tissue: no_dab")
    haematoxylin_none: float = Field(0.08, ge=0, description="nuclei paler: no_haematoxylin")
    haematoxylin_min: float = Field(0.12, ge=0, description="nuclei paler: understained")
    haematoxylin_max: float = Field(1.0, gt=0, description="nuclei denser: overstained")
    floor_max: float = Field(0.8, gt=0, description="denser between nuclei: overstained")
    edge_um: float = Field(200.0, gt=0, description="tissue along the slide's edge")
    mask_agreement_min: float = Field(0.5, ge=0, le=1, description="of two ways to find tissue")
    classical_points: float = Field(25.0, gt=0, description="between the indices of two methods")
    classical_min_cells: int = Field(200, ge=1, description="of each method, else no comparison")


class WatchingSettings(Section):
    """What a run tells while it goes on; nothing of it changes a result."""

    port: int = Field(8790, ge=0, le=65535, description="of the page, on loopback; 0: any free")
    origins: tuple[str, ...] = Field((), description="host:port of a reverse proxy")
    names: bool = Field(False, description="file names on the page, not slide ids alone")
    performance_report: bool = Field(False, description="dask's, as runs/RUN.performance.html")
    log_json: bool = Field(False, description="stderr: one JSON object a line")
    log_file: str | None = Field(None, description="JSON lines are appended to it")
    log_paths: bool = Field(False, description="names and paths in the logs")

    @model_validator(mode="after")
    def _origins_are_whole(self) -> Self:
        for origin in self.origins:
            if not origin or "*" in origin or "/" in origin:
                raise ValueError(f"origins={origin!r}: give host or host:port, without *")
        return self


class RunConfig(Section):
    """Every setting of one run."""

    inputs: InputSettings = InputSettings()
    slides: SlideSettings = SlideSettings()
    tissue: TissueSettings = TissueSettings()
    prediction: PredictionSettings = PredictionSettings()
    heatmap: HeatmapSettings = HeatmapSettings()
    score: ScoreSettings = ScoreSettings()
    roi: RoiSettings = RoiSettings()
    hotspots: HotspotSettings = HotspotSettings()
    category: CategorySettings = CategorySettings()
    qc: QcSettings = QcSettings()
    cluster: ClusterSettings = ClusterSettings()
    watching: WatchingSettings = WatchingSettings()

    @model_validator(mode="after")
    def _chunks_have_one_writer(self) -> Self:
        if self.prediction.tile_core_px % (self.heatmap.downsample * STRIDE_PX):
            raise ValueError(
                f"prediction.tile_core_px={self.prediction.tile_core_px} must be a multiple of "
                f"{STRIDE_PX} x heatmap.downsample={self.heatmap.downsample}"
            )
        return self

    def digest(self) -> str:
        """sha256 of the canonical JSON of all settings."""
        return digest(self.model_dump(mode="json"))


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
