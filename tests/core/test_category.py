"""Categories: the published rules at their cut-offs, and the intervals that reach across them."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import CategorySettings
from pipeline.core.category import OWN, SCHEMES, Scheme, categorise, own_scheme

PERCENT = st.floats(0.0, 100.0)


@pytest.mark.parametrize(
    ("name", "index_pct", "label"),
    [
        ("st_gallen_2013", 19.999, "low"),
        ("st_gallen_2013", 20.0, "high"),
        ("ikwg_5_30", 5.0, "low"),
        ("ikwg_5_30", 5.001, "intermediate"),
        ("ikwg_5_30", 29.999, "intermediate"),
        ("ikwg_5_30", 30.0, "high"),
        ("net_3_20", 2.999, "G1"),
        ("net_3_20", 3.0, "G2"),
        ("net_3_20", 20.0, "G2"),
        ("net_3_20", 20.001, "G3"),
    ],
)
def test_published_schemes_name_an_index_as_published(
    name: str, index_pct: float, label: str
) -> None:
    result = categorise(index_pct, (index_pct, index_pct), SCHEMES[name])
    assert result is not None
    assert result.label == label


def test_the_settings_offer_exactly_the_built_in_schemes() -> None:
    offered = get_args(CategorySettings.model_fields["scheme"].annotation)
    assert set(offered) == {"none", OWN, *SCHEMES}


@given(st.sampled_from(sorted(SCHEMES)), PERCENT, PERCENT)
def test_a_higher_index_never_has_a_lower_category(name: str, one: float, other: float) -> None:
    scheme = SCHEMES[name]
    low, high = (categorise(index, (index, index), scheme) for index in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert scheme.labels.index(low.label) <= scheme.labels.index(high.label)


@given(st.sampled_from(sorted(SCHEMES)), st.lists(PERCENT, min_size=3, max_size=3))
def test_an_interval_that_does_not_straddle_has_one_category(name: str, three: list[float]) -> None:
    low, index, high = sorted(three)
    scheme = SCHEMES[name]
    result = categorise(index, (low, high), scheme)
    assert result is not None
    assert result.straddles_cutoff == any(low <= cutoff <= high for cutoff in scheme.cutoffs)
    if not result.straddles_cutoff:
        for end in (low, high):
            assert categorise(end, (low, high), scheme) == result


def test_nothing_counted_has_no_category() -> None:
    assert categorise(None, None, SCHEMES["net_3_20"]) is None


def test_an_index_without_an_interval_straddles() -> None:
    result = categorise(50.0, None, SCHEMES["net_3_20"])
    assert result is not None
    assert result.straddles_cutoff


def test_own_cutoffs_put_an_equal_index_above() -> None:
    scheme = own_scheme((10.0, 14.0), ("a", "b", "c"))
    labels = [categorise(index, (index, index), scheme) for index in (9.9, 10.0, 13.9, 14.0)]
    assert [result.label for result in labels if result] == ["a", "b", "b", "c"]


@pytest.mark.parametrize("cutoffs", [(30.0, 10.0), (10.0, 10.0), (0.0, 10.0), (10.0, 100.0)])
def test_cutoffs_must_rise_between_0_and_100(cutoffs: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must rise between 0 and 100"):
        own_scheme(cutoffs, ("a", "b", "c"))


def test_labels_must_be_one_more_than_cutoffs() -> None:
    with pytest.raises(ValueError, match="one label more"):
        own_scheme((10.0,), ("a", "b", "c"))
    with pytest.raises(ValueError, match="one label more"):
        own_scheme((), ("a",))
    with pytest.raises(ValueError, match="which range"):
        Scheme("x", ("a", "b"), (10.0,), ())
