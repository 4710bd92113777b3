"""Laws of the window: workers are never idle, and no more than seconds of work lies ahead."""

import pytest

from pipeline.run.window import AHEAD_S, LEAST_PER_WORKER, Window


class Clock:
    """Time that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def at_pace(per_s: float, *, most: int = 8, seconds: float = 30.0) -> Window:
    """A window after so many regions a second, in batches of one."""
    clock = Clock()
    window = Window(most, clock=clock)
    for _ in range(max(1, round(per_s * seconds))):
        clock.now += 1 / per_s
        window.ended(1)
    return window


def test_slow_regions_get_two_per_worker() -> None:
    assert Window(8).size(3) == 3 * LEAST_PER_WORKER
    assert at_pace(0.2).size(2) == 2 * LEAST_PER_WORKER


def test_fast_regions_fill_the_most_allowed() -> None:
    assert at_pace(500.0).size(2) == 16
    assert at_pace(500.0, most=3).size(2) == 6


def test_a_most_of_one_is_kept() -> None:
    assert Window(1).size(2) == 2


@pytest.mark.parametrize("per_s", [0.5, 2.0, 4.0, 7.0])
def test_what_lies_ahead_is_seconds_of_work(per_s: float) -> None:
    ahead = at_pace(per_s, most=100).size(1)
    assert ahead <= max(LEAST_PER_WORKER, AHEAD_S * per_s + 1)
    assert ahead >= AHEAD_S * per_s * 0.8


def test_a_pause_makes_the_window_small_again() -> None:
    clock = Clock()
    window = Window(8, clock=clock)
    for _ in range(1000):
        clock.now += 0.01
        window.ended(1)
    assert window.size(1) == 8
    clock.now += 60
    window.ended(1)
    assert window.size(1) == LEAST_PER_WORKER


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_no_worker_is_left_without_a_region(workers: int, most: int) -> None:
    window = Window(most)
    for under_way in range(window.size(workers) + 1):
        room = window.room(workers, under_way)
        assert under_way + room <= window.size(workers)
        if under_way < workers:
            assert room, "fewer under way than workers, and nothing is sent"


def test_a_smaller_pool_sends_nothing_more() -> None:
    window = Window(8)
    assert window.room(1, window.size(5)) == 0


def test_batches_count_like_single_ends() -> None:
    clock = Clock()
    window = Window(100, clock=clock)
    for _ in range(20):
        clock.now += 1.0
        window.ended(6)
    assert window.size(1) == pytest.approx(at_pace(6.0, most=100).size(1), abs=1)
