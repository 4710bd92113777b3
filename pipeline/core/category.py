"""A word for an index: cut-off schemes, and whether the interval reaches across a cut-off."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

OWN = "own"
"""The scheme whose cut-offs and labels come from the settings."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Labels of the ranges between cut-offs, lowest range first.

    Attributes
    ----------
    name
        As in the settings.
    labels
        One more than there are cut-offs.
    cutoffs
        Rising, in percent, within (0, 100).
    closed_below
        For each cut-off, whether an index equal to it still belongs to the range below it. Indices
        are compared unrounded: 2.99 is below 3.
    """

    name: str
    labels: tuple[str, ...]
    cutoffs: tuple[float, ...]
    closed_below: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.cutoffs or len(self.labels) != len(self.cutoffs) + 1:
            raise ValueError(
                f"scheme {self.name}: {len(self.cutoffs)} cut-offs and {len(self.labels)} labels; "
                "give at least one cut-off and one label more than cut-offs"
            )
        if len(self.closed_below) != len(self.cutoffs):
            raise ValueError(f"scheme {self.name}: say of each cut-off which range it belongs to")
        if any(low >= high for low, high in pairwise((0.0, *self.cutoffs, 100.0))):
            raise ValueError(
                f"scheme {self.name}: cut-offs {list(self.cutoffs)} must rise between 0 and 100"
            )


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """The range an index falls into, and whether its interval contains a cut-off."""

    label: str
    straddles_cutoff: bool


SCHEMES = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme("st_gallen_2013", ("low", "high"), (20.0,), (False,)),
            Scheme(
                "ikwg_5_30",
                ("low", "intermediate", "high"),
                (5.0, 30.0),
                closed_below=(True, False),
            ),
            Scheme("net_3_20", ("G1", "G2", "G3"), (3.0, 20.0), closed_below=(False, True)),
        )
    }
)
"""Schemes that can be chosen by name; none is ever chosen unasked.

``st_gallen_2013``: the majority's 20 % for breast cancer, "high" from 20 % on.
``ikwg_5_30``: International Ki67 in Breast Cancer Working Group 2021, "low" up to 5 %, "high" from
30 %; its evidence covers the two ends only.
``net_3_20``: gastroenteropancreatic neuroendocrine tumours, G1 below 3 %, G2 3 to 20 %, G3 above.
"""


def own_scheme(cutoffs: Sequence[float], labels: Sequence[str]) -> Scheme:
    """Make a user's scheme; an index equal to a cut-off belongs to the range above it."""
    return Scheme(OWN, tuple(labels), tuple(cutoffs), (False,) * len(cutoffs))


def categorise(
    index_pct: float | None, interval95: tuple[float, float] | None, scheme: Scheme
) -> CategoryResult | None:
    """Name the range of an index.

    Parameters
    ----------
    index_pct
        Percent, unrounded; None where nothing was counted, which has no category.
    interval95
        Percent: the bootstrap interval where there is one, else Wilson's. An index without an
        interval may lie anywhere and so straddles.
    scheme
        The cut-offs and their labels.
    """
    if index_pct is None:
        return None
    above = sum(
        index_pct > cutoff or (index_pct == cutoff and not closed)
        for cutoff, closed in zip(scheme.cutoffs, scheme.closed_below, strict=True)
    )
    straddles = interval95 is None or any(
        interval95[0] <= cutoff <= interval95[1] for cutoff in scheme.cutoffs
    )
    return CategoryResult(scheme.labels[above], straddles)
