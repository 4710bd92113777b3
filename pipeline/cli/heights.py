"""Heights of peaks on the command line."""

import math
from typing import Any

import click
from click.types import FloatParamType


class PeakHeight(FloatParamType):
    """A finite number above 0: from which height on a peak is a cell."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; no peak compares with ``nan``."""
        height = float(super().convert(value, param, ctx))
        if not 0 < height < math.inf:
            self.fail(
                f"{height:g} is no height of a peak; give one above 0, such as 0.1", param, ctx
            )
        return height
