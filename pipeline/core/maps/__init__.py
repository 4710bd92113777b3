"""Location maps: what a network is trained to regress, made from points.

EDT is the exponential distance transform of Li et al. 2024; IDT, FIDT and the Gaussian density are
the maps it is compared with. All are made from points, so that augmentation moves points and never
a map.
"""

from pipeline.core.maps.density import density_map
from pipeline.core.maps.distance import image_max_dt_px, seed_distance
from pipeline.core.maps.profiles import (
    EDT_C1,
    EDT_C2,
    EDT_C3,
    FLOOR,
    MAX_DT_UM,
    edt_profile,
    inverse_profile,
    max_dt_px,
)
from pipeline.core.maps.rule import KINDS, MapKind, MapRule, edt_map, location_map

__all__ = [
    "EDT_C1",
    "EDT_C2",
    "EDT_C3",
    "FLOOR",
    "KINDS",
    "MAX_DT_UM",
    "MapKind",
    "MapRule",
    "density_map",
    "edt_map",
    "edt_profile",
    "image_max_dt_px",
    "inverse_profile",
    "location_map",
    "max_dt_px",
    "seed_distance",
]
