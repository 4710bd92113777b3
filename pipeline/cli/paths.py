"""Paths on the command line."""

from pathlib import Path
from typing import Any

import click


class OutputPath(click.Path):
    """A folder or file of results; an empty one, as of a variable that is not set, is refused.

    The empty path means the folder one happens to be in.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value).strip():
            self.fail("is empty; name a folder (. for this one)", param, ctx)
        return super().convert(value, param, ctx)
