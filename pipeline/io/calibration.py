"""Calibrations as files: what they rest on, the weights they belong to, refused for others."""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import __version__
from pipeline.core.calibration import Calibration, Matrix
from pipeline.core.calibration_fit import CountedGroup, LeftOutGroup
from pipeline.errors import ConfigError
from pipeline.io.files import write_json_atomic

FOLDER_NAME = "calibrations"
"""Beside a model's card."""
METHOD = "weighted Deming line between logits of manual and found index, drawn towards no change"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parameters(_Part):
    """The numbers of :class:`pipeline.core.calibration.Calibration`."""

    centre_logit: float
    shift_logit: float
    log_slope: float
    covariance: Matrix
    spread_logit: float
    groups: int
    fields: int
    range_pct: tuple[float, float]


class LeftOutErrors(_Part):
    """Errors of groups that the correction they got had not seen, in percentage points.

    ``covered``: groups whose manual index lies in the corrected interval.
    """

    mean_absolute_before: float
    mean_absolute_after: float
    bias_before: float
    bias_after: float
    covered: int
    groups: int


class GroupRow(_Part):
    """One group: its cells and its indices, corrected without itself."""

    group: str
    fields: int
    manual_cells: int
    found_cells: int
    manual_pct: float
    found_pct: float
    corrected_pct: float


class CalibrationRecord(_Part):
    """The content of a calibration's file."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: str
    model: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    threshold: float | None = Field(description="score a counted cell must reach")
    method: str = METHOD
    source: dict[str, str] = Field(description="what was counted, with the files' sha256")
    parameters: Parameters
    leave_one_group_out: LeftOutErrors
    by_group: tuple[GroupRow, ...]
    left_out: tuple[str, ...] = ()
    tool: str = f"ki67-pipeline {__version__}"
    research_use_only: bool = True


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """A calibration as read from a file.

    Attributes
    ----------
    sha256
        Of the file.
    """

    name: str
    sha256: str
    calibration: Calibration
    record: CalibrationRecord

    def apply(
        self, index_pct: float, interval95: tuple[float, float]
    ) -> tuple[float, tuple[float, float]]:
        """Correct an index and its interval, both in percent."""
        return self.calibration.apply(index_pct, interval95)

    def is_outside(self, index_pct: float) -> bool:
        """Whether the correction of this index is extrapolated."""
        return self.calibration.is_outside(index_pct)


def left_out_errors(left_out: list[LeftOutGroup]) -> LeftOutErrors:
    """Sum up what the correction does for groups it has not seen."""
    before = [group.found_pct - group.manual_pct for group in left_out]
    after = [group.corrected_pct - group.manual_pct for group in left_out]
    count = len(left_out)
    return LeftOutErrors(
        mean_absolute_before=_rounded(math.fsum(map(abs, before)) / count),
        mean_absolute_after=_rounded(math.fsum(map(abs, after)) / count),
        bias_before=_rounded(math.fsum(before) / count),
        bias_after=_rounded(math.fsum(after) / count),
        covered=sum(
            group.interval95[0] <= group.manual_pct <= group.interval95[1] for group in left_out
        ),
        groups=count,
    )


def group_rows(groups: list[CountedGroup], left_out: list[LeftOutGroup]) -> tuple[GroupRow, ...]:
    """Make the table of groups."""
    return tuple(
        GroupRow(
            group=group.name,
            fields=group.fields,
            manual_cells=group.manual_positive + group.manual_negative,
            found_cells=group.found_positive + group.found_negative,
            manual_pct=_rounded(group.manual_pct),
            found_pct=_rounded(group.found_pct),
            corrected_pct=_rounded(without.corrected_pct),
        )
        for group, without in zip(groups, left_out, strict=True)
    )


def calibration_path(model_folder: Path, name: str) -> Path:
    """Return where a model's calibration lies.

    Raises
    ------
    ConfigError
        The name is no plain file name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name}: use letters, digits, points, underscores and hyphens")
    return model_folder / FOLDER_NAME / f"{name}.json"


def write_calibration(path: Path, record: CalibrationRecord) -> None:
    """Write a calibration; the same record gives the same bytes.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    write_json_atomic(path, record.model_dump(mode="json", by_alias=True))


def read_calibration(
    path: Path, *, weights_sha256: str | None, threshold: float | None
) -> StoredCalibration:
    """Read a calibration for slides of one model.

    Parameters
    ----------
    weights_sha256, threshold
        Those the slides were scored with; the calibration must have been made with both.

    Raises
    ------
    ConfigError
        It cannot be read, is damaged, or was made for other weights or another threshold.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path.name}: the calibration cannot be read ({reason})") from error
    try:
        record = CalibrationRecord.model_validate(json.loads(content))
        calibration = Calibration(**record.parameters.model_dump())
    except (ValidationError, ValueError) as error:
        raise ConfigError(
            f"{path.name}: no calibration of this program ({_first_line(error)}); make it again "
            "with `ki67 calibrate`"
        ) from error
    if record.weights_sha256 != weights_sha256:
        raise ConfigError(
            f"{path.name}: made for the weights {record.weights_sha256[:12]} ({record.model}), "
            f"these slides have {(weights_sha256 or 'none')[:12]}; calibrate this model"
        )
    if not _same(record.threshold, threshold):
        raise ConfigError(
            f"{path.name}: made with threshold {record.threshold}, these slides have {threshold}; "
            "calibrate with the threshold of the run"
        )
    return StoredCalibration(record.name, hashlib.sha256(content).hexdigest(), calibration, record)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else "no table of values"
    return str(error).splitlines()[0]


def _rounded(value: float) -> float:
    return round(value, 6)
