"""What fixes a network's shape, and the named architectures (no torch here)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import ModelError

TOTAL_STRIDE = 32
"""Sides and origins of tiles are multiples of it: a multiple of every network's own stride."""

Family = Literal["hrnet", "u_net", "u_csrnet"]
Placement = Literal["replace", "insert", "block", "none"]
STRIDES: Mapping[Family, int] = MappingProxyType({"hrnet": 32, "u_net": 16, "u_csrnet": 8})
PLACEMENTS: Mapping[Family, tuple[Placement, ...]] = MappingProxyType(
    {
        "hrnet": ("replace", "insert", "none"),
        "u_net": ("replace", "block", "none"),
        "u_csrnet": ("replace", "none"),
    }
)
"""Where each family can take the gradient aggregation module: instead of its first convolution,
after it, or instead of its first block."""


class NetworkSpec(BaseModel):
    """Everything that fixes a network's shape; stored in the model card.

    ``width`` scales every family; the fields from ``stem_channels`` on are HRNet's alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    family: Family = "hrnet"
    width: int = Field(gt=0)
    mga: Placement = "replace"
    theta: float = Field(default=0.7, ge=0.0, le=1.0)
    channels: int = Field(default=2, gt=0)
    stem_channels: int = Field(default=64, gt=0, multiple_of=4)
    bottlenecks: int = Field(default=4, gt=0)
    bottleneck_channels: int = Field(default=64, gt=0)
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = Field(default=4, gt=0)
    head_channels: int | None = Field(default=None, gt=0)
    head_middle: int = Field(default=64, gt=0)

    @model_validator(mode="after")
    def _family_has_the_place(self) -> "NetworkSpec":
        if self.mga not in PLACEMENTS[self.family]:
            known = ", ".join(PLACEMENTS[self.family])
            raise ValueError(f"mga={self.mga} has no place in {self.family}; known: {known}")
        if self.family != "hrnet" and self.width % 4:
            raise ValueError(f"width={self.width} must be a multiple of 4 for {self.family}")
        return self

    @property
    def stride(self) -> int:
        """Pixels per step of the coarsest features: a shift by it shifts the heatmap."""
        return STRIDES[self.family]


def network_spec(architecture: str, **changes: Any) -> NetworkSpec:
    """Return a named architecture's specification, with some fields changed.

    Raises
    ------
    ModelError
        If there is no architecture of that name.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(f"no architecture {architecture!r}; known: {known}")
    fields = ARCHITECTURES[architecture].model_dump() | changes
    return NetworkSpec.model_validate(fields)


_SMALL = {
    "width": 18,
    "bottlenecks": 2,
    "bottleneck_channels": 32,
    "modules": (1, 2, 2),
    "blocks": 2,
    "head_channels": 64,
    "head_middle": 32,
}
_TINY = {
    "width": 4,
    "stem_channels": 16,
    "bottlenecks": 1,
    "bottleneck_channels": 8,
    "modules": (1, 1, 1),
    "blocks": 1,
    "head_channels": 16,
    "head_middle": 8,
}

_SIZES: tuple[tuple[Family, str, dict[str, Any]], ...] = (
    ("hrnet", "hrnet_w18", {"width": 18}),
    ("hrnet", "hrnet_w32", {"width": 32}),
    ("hrnet", "hrnet_w48", {"width": 48}),
    ("hrnet", "hrnet_w18_small", _SMALL),
    ("hrnet", "hrnet_tiny", _TINY),
    ("u_net", "u_net", {"width": 64}),
    ("u_net", "u_net_small", {"width": 16}),
    ("u_net", "u_net_tiny", {"width": 4}),
    ("u_csrnet", "u_csrnet", {"width": 64}),
    ("u_csrnet", "u_csrnet_small", {"width": 16}),
    ("u_csrnet", "u_csrnet_tiny", {"width": 4}),
)


def _named() -> Iterator[NetworkSpec]:
    """Every size plain and, with the prefix ``m_``, with the gradient aggregation module."""
    for family, name, fields in _SIZES:
        yield NetworkSpec(architecture=name, family=family, mga="none", **fields)
        yield NetworkSpec(architecture=f"m_{name}", family=family, mga="replace", **fields)
    yield NetworkSpec(architecture="m_u_net_block", family="u_net", mga="block", width=64)
    yield NetworkSpec(architecture="m_hrnet_w48_insert", width=48, mga="insert")


ARCHITECTURES: Mapping[str, NetworkSpec] = MappingProxyType(
    {spec.architecture: spec for spec in _named()}
)
