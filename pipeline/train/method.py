"""Settings of the method: which map is regressed, and how cells are read from it."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config import Section
from pipeline.core.localizing import PeakRule, PostKind
from pipeline.core.maps import MAX_DT_UM, MapKind, MapRule

Classes = Literal["unified", "per_class"]
CHANNELS_OF: dict[Classes, int] = {"unified": 1, "per_class": 2}


class MapConfig(Section):
    """The map that the network learns to predict."""

    kind: MapKind = "edt"
    max_dt: float | Literal["image"] = Field(
        MAX_DT_UM,
        description="EDT: micrometres, the same everywhere; or 'image': each image's own, as "
        "the paper has it",
    )
    c1: float | None = Field(None, ge=0, description="None: as published for the kind")
    c2: float | None = Field(None, gt=0)
    c3: float | None = Field(None, gt=0)
    sigma_um: float = Field(0.9375, gt=0, description="density: 3 px of the 512-pixel frame")

    @model_validator(mode="after")
    def _max_dt_is_a_distance(self) -> "MapConfig":
        if not isinstance(self.max_dt, str) and self.max_dt <= 0:
            raise ValueError(f"max_dt={self.max_dt} must be above 0 um, or 'image'")
        return self

    def rule(self, mpp_um: float, image_max_dt_px: float | None = None) -> MapRule:
        """Return the rule for maps of ``mpp_um``.

        Parameters
        ----------
        image_max_dt_px
            Used where ``max_dt`` is 'image'.
        """
        largest = image_max_dt_px if isinstance(self.max_dt, str) else self.max_dt / mpp_um
        sigma_px = self.sigma_um / mpp_um
        return MapRule(self.kind, largest, self.c1, self.c2, self.c3, sigma_px)


class PostConfig(Section):
    """How cells are read from a predicted map."""

    kind: PostKind = "ccls"
    radius_um: float = Field(3.1, gt=0, description="CCLS: half side of the neighbourhood")
    threshold: float | None = Field(
        None, gt=0, description="None: the best of a sweep on the validation fields"
    )
    floor: float = Field(0.05, gt=0, description="peaks below are not even candidates")

    @model_validator(mode="after")
    def _threshold_is_above_the_floor(self) -> "PostConfig":
        if self.threshold is not None and self.threshold < self.floor:
            raise ValueError(f"threshold={self.threshold} is below floor={self.floor}")
        return self

    def rule(self, mpp_um: float) -> PeakRule:
        """Return the rule for maps of ``mpp_um``."""
        return PeakRule.named(self.kind, radius_um=self.radius_um, mpp_um=mpp_um)
