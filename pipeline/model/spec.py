"""What fixes a network's shape, and the named architectures (no torch here)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import ModelError

TOTAL_STRIDE = 32


class NetworkSpec(BaseModel):
    """Everything that fixes a network's shape; stored in the model card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    width: int = Field(gt=0)
    mga: Literal["replace", "insert", "none"] = "replace"
    theta: float = Field(default=0.7, ge=0.0, le=1.0)
    channels: int = Field(default=2, gt=0)
    stem_channels: int = Field(default=64, gt=0, multiple_of=4)
    bottlenecks: int = Field(default=4, gt=0)
    bottleneck_channels: int = Field(default=64, gt=0)
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = Field(default=4, gt=0)
    head_channels: int | None = Field(default=None, gt=0)
    head_middle: int = Field(default=64, gt=0)

    @property
    def stride(self) -> int:
        """Pixels per step of the coarsest branch; sides of the input are multiples of it."""
        return TOTAL_STRIDE


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


_NAMED = (
    NetworkSpec(architecture="m_hrnet_w18", width=18),
    NetworkSpec(architecture="m_hrnet_w32", width=32),
    NetworkSpec(architecture="m_hrnet_w48", width=48),
    NetworkSpec(architecture="hrnet_w18", width=18, mga="none"),
    NetworkSpec(architecture="hrnet_w48", width=48, mga="none"),
    NetworkSpec(
        architecture="m_hrnet_w18_small",
        width=18,
        bottlenecks=2,
        bottleneck_channels=32,
        modules=(1, 2, 2),
        blocks=2,
        head_channels=64,
        head_middle=32,
    ),
    NetworkSpec(
        architecture="m_hrnet_tiny",
        width=4,
        stem_channels=16,
        bottlenecks=1,
        bottleneck_channels=8,
        modules=(1, 1, 1),
        blocks=1,
        head_channels=16,
        head_middle=8,
    ),
)

ARCHITECTURES: Mapping[str, NetworkSpec] = MappingProxyType(
    {spec.architecture: spec for spec in _NAMED}
)
