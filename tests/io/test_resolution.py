"""The ladder of micrometres per pixel: which rung wins, what is refused, what the line says."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import MPP_RANGE_UM
from pipeline.errors import MissingResolutionError, ResolutionRangeError, UnreadableSlideError
from pipeline.io.resolution import Resolution, check_against_model, resolve_resolution
from pipeline.io.slides import open_slide


@dataclass(frozen=True)
class Statement:
    """What a slide says of its resolution."""

    mpp: tuple[float, float] | None = None
    mpp_source: str | None = None
    resampled: bool = False
    name: str = "a.svs"


VENDOR = Statement((0.25, 0.25), "vendor")
possible = st.floats(*MPP_RANGE_UM)


def test_the_override_wins_over_the_file_even_an_absurd_one() -> None:
    assert resolve_resolution(VENDOR, mpp=0.5) == Resolution(0.5, 0.5, "override")
    absurd = Statement((352.78, 352.78), "tiff-tag")
    assert resolve_resolution(absurd, mpp=0.5).source == "override"


def test_the_file_wins_over_the_assumption() -> None:
    assert resolve_resolution(VENDOR, assume_mpp=0.5) == Resolution(0.25, 0.25, "vendor")


@given(possible)
def test_a_silent_file_takes_the_assumption(mpp: float) -> None:
    assert resolve_resolution(Statement(), assume_mpp=mpp) == Resolution(mpp, mpp, "assumed")


def test_a_silent_file_without_assumption_is_refused_with_the_remedy() -> None:
    with pytest.raises(MissingResolutionError) as caught:
        resolve_resolution(Statement())
    assert str(caught.value) == (
        "a.svs: no micrometres per pixel in the file; pass --assume-mpp 0.25 (or --mpp)"
    )


@pytest.mark.parametrize("value", [352.7778, 28.969, 101600.0, 0.0, -0.25, 0.07, 2.01])
@pytest.mark.parametrize("source", ["vendor", "tiff-tag"])
def test_an_absurd_value_is_refused_and_no_assumption_covers_it(value: float, source: str) -> None:
    with pytest.raises(ResolutionRangeError, match=f"{value:.6g} um per pixel in the file") as e:
        resolve_resolution(Statement((value, value), source), assume_mpp=0.25)
    assert "pass --mpp" in str(e.value)


def test_one_absurd_axis_is_enough() -> None:
    with pytest.raises(ResolutionRangeError, match="25"):
        resolve_resolution(Statement((0.25, 25.0), "vendor"))


@pytest.mark.parametrize("option", ["mpp", "assume_mpp"])
def test_an_absurd_option_is_refused_by_its_name(option: str) -> None:
    with pytest.raises(ResolutionRangeError, match=f"--{option.replace('_', '-')}"):
        resolve_resolution(Statement(), **{option: 250.0})


def test_oblong_pixels_are_kept_and_told() -> None:
    oblong = resolve_resolution(Statement((0.25, 0.26), "vendor"))
    assert oblong.mpp == (0.25, 0.26)
    assert oblong.anisotropic
    assert not resolve_resolution(Statement((0.25, 0.250025), "vendor")).anisotropic


@pytest.mark.parametrize("mpp", [None, (0.5, 0.5)])
def test_a_reduced_copy_is_refused_unless_overridden(mpp: tuple[float, float] | None) -> None:
    reduced = Statement(mpp, "vendor", resampled=True)
    with pytest.raises(UnreadableSlideError, match="RESAMPLED"):
        resolve_resolution(reduced, assume_mpp=0.5)
    assert resolve_resolution(reduced, mpp=0.5).source == "override"


@given(model=possible, times=st.floats(0.01, 4.0))
def test_a_slide_is_too_coarse_beyond_twice_the_models_pixel(model: float, times: float) -> None:
    resolution = Resolution(model * times, model * times / 2, "vendor")
    if times > 2.001:
        with pytest.raises(ResolutionRangeError, match="more than 2 times the model's"):
            check_against_model(resolution, model)
    elif times <= 2:
        check_against_model(resolution, model)


def test_the_real_dicom_overview_is_refused_with_its_value(ki67_data: Path) -> None:
    path = ki67_data / "slides" / "ezwsi_camelyon.dcm"
    if not path.exists():
        pytest.skip("ezwsi_camelyon.dcm is not in the data folder")
    with pytest.raises(ResolutionRangeError, match=r"^ezwsi_camelyon\.dcm: 28\.969 "):
        resolve_resolution(open_slide(path))


def test_the_real_slide_without_mpp_is_refused_and_fine_when_told(ki67_data: Path) -> None:
    path = ki67_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    if not path.exists():
        pytest.skip("the TCGA slide is not in the data folder")
    slide = open_slide(path)
    with pytest.raises(MissingResolutionError, match="--assume-mpp"):
        resolve_resolution(slide)
    assert resolve_resolution(slide, assume_mpp=0.25).mpp == (0.25, 0.25)
