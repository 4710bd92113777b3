"""Settings of a run: what they are, and how they are read."""

from pipeline.config.cluster import (
    ClusterKind,
    ClusterSettings,
    KubernetesSettings,
    SlurmSettings,
)
from pipeline.config.reading import (
    given_settings,
    known_keys,
    load_config,
    overlaid,
    set_pair,
    validated,
)
from pipeline.config.section import Section
from pipeline.config.settings import (
    MPP_RANGE_UM,
    STRIDE_PX,
    WITHOUT_RESULTS,
    CategorySettings,
    HeatmapSettings,
    HotspotSettings,
    InputSettings,
    PredictionSettings,
    QcReason,
    QcSettings,
    RoiSettings,
    RunConfig,
    ScoreSettings,
    SlideSettings,
    TissueSettings,
    digest,
)

__all__ = [
    "MPP_RANGE_UM",
    "STRIDE_PX",
    "WITHOUT_RESULTS",
    "CategorySettings",
    "ClusterKind",
    "ClusterSettings",
    "HeatmapSettings",
    "HotspotSettings",
    "KubernetesSettings",
    "PredictionSettings",
    "QcReason",
    "QcSettings",
    "RoiSettings",
    "RunConfig",
    "ScoreSettings",
    "Section",
    "SlideSettings",
    "SlurmSettings",
    "TissueSettings",
    "digest",
    "given_settings",
    "known_keys",
    "load_config",
    "overlaid",
    "set_pair",
    "validated",
]
