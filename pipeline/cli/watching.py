"""The flags of a watch: ``ki67 run --watch``, how often it looks, when it ends by itself."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.run.events import RunSummary

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhd]?)$")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A time such as ``60s``, ``5m``, ``1.5h``, ``1d``; without a unit, seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.match(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no time; write 60s, 5m, 1.5h or 1d", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


def watch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--watch``, ``--every`` and ``--idle-exit`` to a command."""
    options = (
        click.option("--watch", is_flag=True, help="Go on, and score slides as they arrive."),
        click.option("--every", type=Duration(), help="Between looks of a watch; default: 60s."),
        click.option("--idle-exit", type=Duration(), help="End a watch so long without arrivals."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def run_or_watch(
    *, watch: bool, every: float | None, idle_exit: float | None
) -> "Callable[..., RunSummary]":
    """Return what the flags ask for, called as ``run_archive``."""
    if not watch:
        if every is not None or idle_exit is not None:
            raise click.UsageError("--every and --idle-exit belong to --watch; add it")
        # dask takes half a second, and what comes before it need not wait
        from pipeline.run.archive import run_archive

        return run_archive
    from pipeline.run.watch import Rhythm, watch_archive

    rhythm = Rhythm(idle_exit_s=idle_exit) if every is None else Rhythm(every, idle_exit)
    return partial(watch_archive, rhythm=rhythm)
