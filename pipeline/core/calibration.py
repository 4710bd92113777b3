"""A correction of the labelling index: a straight line on the logit scale, and its uncertainty."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

Matrix = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted correction of the index.

    Attributes
    ----------
    centre_logit
        Where the shift is given: the groups' middle.
    shift_logit, log_slope
        Of the line from manual to found index, at the centre.
    covariance
        Of the two.
    spread_logit
        Standard deviation of a group's manual index around the corrected one.
    groups, fields
        How many it rests on.
    range_pct
        Lowest and highest found index among the groups: beyond it the line is extrapolated.
    """

    centre_logit: float
    shift_logit: float
    log_slope: float
    covariance: Matrix
    spread_logit: float
    groups: int
    fields: int
    range_pct: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what no fit gives."""
        numbers = [self.centre_logit, self.shift_logit, self.log_slope, self.spread_logit]
        numbers += [entry for row in self.covariance for entry in row]
        low, high = self.range_pct
        if not all(map(math.isfinite, numbers)) or self.spread_logit < 0 or self.groups < 3:
            raise ValueError("a calibration's numbers must be finite, from 3 groups or more")
        if not 0 <= low <= high <= 100:
            raise ValueError(f"range_pct={low:g} to {high:g} must lie in 0 to 100")

    def corrected(self, index_pct: float) -> float:
        """Correct an index in percent; rises with it, 0 stays 0 and 100 stays 100."""
        return _percent(self._corrected_logit(_logit(index_pct)))

    def is_outside(self, index_pct: float) -> bool:
        """Whether an index lies beyond the groups, so that its correction is extrapolated."""
        return not self.range_pct[0] <= index_pct <= self.range_pct[1]

    def apply(
        self, index_pct: float, interval95: tuple[float, float]
    ) -> tuple[float, tuple[float, float]]:
        """Correct an index and its interval.

        Parameters
        ----------
        index_pct
            As found.
        interval95
            The slide's own, as found; it contains the index.

        Returns
        -------
        tuple
            Index and 95 % interval in percent. The interval adds, on the logit scale, the slide's
            own, the uncertainty of the line, and how far single groups lie from the line.

        Raises
        ------
        ValueError
            The index is outside 0 to 100 or outside its interval.
        """
        low, high = interval95
        if not 0 <= low <= index_pct <= high <= 100:
            raise ValueError(f"index {index_pct:g} and interval {low:g} to {high:g} cannot be")
        ends = (self._end(index_pct, low, -1), self._end(index_pct, high, +1))
        return self.corrected(index_pct), ends

    def _corrected_logit(self, found: float) -> float:
        away = (found - self.centre_logit - self.shift_logit) * math.exp(-self.log_slope)
        return self.centre_logit + away

    def _end(self, index_pct: float, end_pct: float, side: int) -> float:
        """One end of the interval; at 0 and 100 % the logit is infinite and the end stands."""
        end = self._corrected_logit(_logit(end_pct))
        if math.isinf(end):
            return end_pct
        middle = self._corrected_logit(_logit(index_pct))
        base = end if math.isinf(middle) else middle
        own = 0.0 if math.isinf(middle) else abs(end - middle)
        return _percent(base + side * math.hypot(own, self._half_width(base)))

    def _half_width(self, corrected: float) -> float:
        gradient = np.array([math.exp(-self.log_slope), corrected - self.centre_logit])
        line = float(gradient @ np.array(self.covariance) @ gradient)
        quantile = float(special.stdtrit(self.groups - 2, 0.975))
        return quantile * math.sqrt(max(line, 0.0) + self.spread_logit**2)


def _logit(percent: float) -> float:
    if percent <= 0 or percent >= 100:
        return -math.inf if percent <= 0 else math.inf
    return math.log(percent) - math.log(100 - percent)


def _percent(logit: float) -> float:
    return 100 * (0.5 + 0.5 * math.tanh(logit / 2))
