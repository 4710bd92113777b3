"""The file of a region counts as its done mark only where it is whole and of the same plan."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.ccls import find_peaks
from pipeline.core.seams import border_strips
from pipeline.run.region_file import RegionResult, holds, write_region

MATCH = "1f" * 32
SEED = 20261130


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(SEED)
    heatmap = rng.random((2, 96, 96), np.float32)
    result = RegionResult(
        peaks=find_peaks(heatmap, window=13, floor=0.1),
        undecided=find_peaks(heatmap, window=13, floor=0.9),
        strips=border_strips(heatmap, window=13),
        unreadable=np.array([[3, 4]], np.int32),
        measures=rng.random((14, 6, 6), np.float32),
    )
    assert len(result.peaks)
    path = tmp_path / "00007.region"
    write_region(path, result, MATCH)
    return path


def test_a_file_holds_for_its_own_plan_only(path: Path) -> None:
    assert holds(path, MATCH)
    assert not holds(path, MATCH[::-1])
    assert not holds(path.with_name("00008.region"), MATCH)


def test_the_same_result_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    heatmap = rng.random((2, 96, 96), np.float32)
    again = RegionResult(
        find_peaks(heatmap, window=13, floor=0.1),
        find_peaks(heatmap, window=13, floor=0.9),
        border_strips(heatmap, window=13),
        np.array([[3, 4]], np.int32),
        rng.random((14, 6, 6), np.float32),
    )
    write_region(tmp_path / "again.region", again, MATCH)
    assert (tmp_path / "again.region").read_bytes() == path.read_bytes()


def test_a_changed_byte_is_noticed_wherever_it_lies(path: Path) -> None:
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(SEED)
    places = {0, 3, 4, len(content) - 1, *rng.integers(len(content), size=200).tolist()}
    for place in sorted(places):
        content[place] ^= 0x20
        path.write_bytes(content)
        assert not holds(path, MATCH), place
        content[place] ^= 0x20
    path.write_bytes(content)
    assert holds(path, MATCH)


def test_a_file_that_is_cut_short_or_empty_does_not_hold(path: Path) -> None:
    content = path.read_bytes()
    for length in (0, 1, 4, 5, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert not holds(path, MATCH), length
