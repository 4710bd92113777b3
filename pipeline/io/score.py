"""The score of a slide as a record: score.json, schema 1, every key always there."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Status = Literal[
    "ok", "ok_with_flags", "no_tissue", "too_few_cells", "failed", "deferred", "skipped"
]


def _to(digits: int) -> AfterValidator:
    return AfterValidator(lambda value: round(value, digits) + 0.0)


Percent = Annotated[float, _to(4)]
SquareMm = Annotated[float, _to(6)]
Pixels = Annotated[float, _to(2)]
Micrometres = Annotated[float, _to(6)]
PerMm2 = Annotated[float, _to(3)]
Interval = tuple[Percent, Percent]
Measure = Annotated[float, _to(6)]


class _Part(BaseModel):
    """A frozen group of keys; unknown keys and NaN are errors, unknown values are None."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
    )


class SlideIdentity(_Part):
    """Which slide, how it was read, how large a pixel is."""

    id: str
    name: str
    fingerprint: str | None = None
    reader: str | None = None
    vendor: str | None = None
    width: int | None = Field(None, description="level-0 pixels")
    height: int | None = Field(None, description="level-0 pixels")
    bounds: tuple[int, int, int, int] | None = Field(
        None, description="x, y, width, height of the scanned rectangle, level-0 pixels"
    )
    mpp: tuple[Micrometres, Micrometres] | None = Field(None, description="x, y")
    mpp_source: str | None = None
    objective: float | None = None
    group: str | None = Field(None, description="the case, as a manifest named it")


class AreaMm2(_Part):
    """Areas in square millimetres."""

    tissue: SquareMm | None = None
    excluded: SquareMm | None = None
    unreadable: SquareMm | None = None
    analysed: SquareMm | None = None
    outside_roi: SquareMm | None = Field(None, description="tissue outside the region of interest")


class Counts(_Part):
    """Cells by label."""

    positive: int | None = Field(None, ge=0)
    negative: int | None = Field(None, ge=0)
    total: int | None = Field(None, ge=0)


class Calibrated(_Part):
    """The index corrected by a calibration against manual counts."""

    index_pct: Percent
    interval95: Interval | None = None
    calibration: str
    sha256: str
    extrapolated: bool = Field(False, description="beyond the indices it was made from")


class Ki67(_Part):
    """The labelling index and what surrounds it; 0 of 0 is None, never 0 %."""

    index_pct: Percent | None = None
    wilson95: Interval | None = None
    bootstrap95: Interval | None = None
    unweighted_field_mean_pct: Percent | None = None
    fields: int | None = None
    calibrated: Calibrated | None = None


class Density(_Part):
    """Cells per square millimetre of analysed area."""

    positive_per_mm2: PerMm2 | None = None
    total_per_mm2: PerMm2 | None = None


class Hotspot(_Part):
    """One place of highest labelling."""

    rank: int
    x_l0: Pixels
    y_l0: Pixels
    radius_um: float
    cells: int
    positive: int
    index_pct: Percent | None = None
    wilson95: Interval | None = None
    expected_max_if_uniform_pct: Percent | None = None
    p_value: float | None = None


class Piece(_Part):
    """One connected piece of tissue."""

    id: int
    area_mm2: SquareMm
    positive: int
    negative: int
    index_pct: Percent | None = None


class Category(_Part):
    """A word for the index, only where the user configured a scheme."""

    scheme: str
    label: str
    cutoffs: tuple[float, ...]
    straddles_cutoff: bool


class RoiUse(_Part):
    """The region of interest that cells were counted in."""

    name: str = Field(description="of the file")
    sha256: str
    include_classes: tuple[str, ...] = ()
    exclude_classes: tuple[str, ...] = ()
    unused_classes: tuple[str, ...] = Field((), description="in the file and not looked at")
    repaired: int = Field(0, description="polygons whose outline crossed itself")


class QualityUse(_Part):
    """What was excluded and what was measured of the slide's quality."""

    excluded_mm2: dict[str, SquareMm] = {}
    excluded_cells: dict[str, int] = {}
    measures: dict[str, Measure | None] = {}


class Provenance(_Part):
    """What made the number."""

    tool: str | None = None
    version: str | None = None
    results_version: int | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    config_sha256: str | None = None
    threshold: float | None = None
    engine: str | None = None
    device: str | None = None
    dtype: str | None = None
    started: str | None = Field(None, description="UTC, ISO 8601")
    ended: str | None = Field(None, description="UTC, ISO 8601")
    research_use_only: bool = True


class ScoreRecord(_Part):
    """score.json, schema 1: every key is always there, what is unknown is null."""

    schema_version: Literal[1] = Field(1, alias="schema")
    slide: SlideIdentity
    status: Status
    reason: str | None = None
    flags: tuple[str, ...] = ()
    population: Literal["model_targets", "roi"] | None = None
    caveat: str | None = None
    area_mm2: AreaMm2 = AreaMm2()
    counts: Counts = Counts()
    ki67: Ki67 = Ki67()
    density: Density = Density()
    hotspots: tuple[Hotspot, ...] = ()
    pieces: tuple[Piece, ...] = ()
    category: Category | None = None
    roi: RoiUse | None = None
    qc: QualityUse | None = None
    provenance: Provenance = Provenance()

    @property
    def seconds(self) -> float | None:
        """From start to end of the slide; None when either is unknown."""
        started, ended = self.provenance.started, self.provenance.ended
        if started is None or ended is None:
            return None
        try:
            return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
        except (ValueError, TypeError):
            return None

    def as_json(self) -> dict[str, Any]:
        """Return plain values in the order of the schema."""
        return self.model_dump(mode="json", by_alias=True)
