"""A machine whose clock is set: two hours on and back, often enough to come between messages."""

import time

SET_EVERY_S = 0.05

_time, _begun = time.time, time.monotonic()


def _jumping() -> float:
    return _time() + 7200.0 * (int((time.monotonic() - _begun) / SET_EVERY_S) % 2)


time.time = _jumping
