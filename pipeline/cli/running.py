"""A run as the command line tells it: log, progress, the last line, the exit code."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Thread

import click

from pipeline.cli import exit_code
from pipeline.cli.ending import ending
from pipeline.cli.logs import run_log
from pipeline.cli.progress import progress_view
from pipeline.config import RunConfig
from pipeline.errors import PipelineError
from pipeline.run.events import Event, RunSummary


def run_told(
    score: Callable[..., RunSummary],
    inputs: Sequence[str],
    out: Path,
    config: RunConfig,
    *,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Call ``score`` as ``run_archive`` is called, tell what happens, and exit with its code."""
    logs = config.watching
    places = [str(place.absolute()) for place in [*map(Path, inputs), out]]
    with (
        run_log(logs, places) as log,
        progress_view(as_json=as_json, quiet=logs.log_json) as progress,
    ):

        def tell(event: Event) -> None:
            log.tell(event)
            progress.tell(event)
            if event.kind == "slide_finalising":
                _import_report()

        try:
            summary = score(
                inputs, out, config, on_event=tell, report=_report, retry_failed=retry_failed
            )
        except PipelineError as error:
            log.failed(error, exit_code(error))
            if logs.log_json:  # the line has been written, and without paths
                raise click.exceptions.Exit(exit_code(error)) from error
            raise
        log.end(summary)
    if not (as_json or logs.log_json):
        click.echo(ending(summary, out))
    click.get_current_context().exit(summary.exit_code)


@cache
def _import_report() -> None:
    """Import what the end of a run needs while a worker is busy: nobody waits for it then."""

    def imported() -> None:
        import_module("pipeline.io.qupath")
        import_module("pipeline.report.html").prepare_report()

    Thread(target=imported, daemon=True).start()


def _report(out: Path) -> object:
    from pipeline.report.html import write_report

    return write_report(out)
