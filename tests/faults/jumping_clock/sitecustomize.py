"""A machine whose clock is set: two hours on and back again, ever so often, in every process."""

import time

_time, _begun = time.time, time.monotonic()


def _jumping() -> float:
    return _time() + 7200.0 * (int((time.monotonic() - _begun) / 1.5) % 2)


time.time = _jumping
