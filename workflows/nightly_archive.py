"""Score what is new in an archive, once, unattended: the body of a cron job or a systemd timer.

Finished slides are left alone, an interrupted night goes on the next one, two never overlap.
Exit code: 0 nothing failed, 1 a slide failed, 2 settings, 3 another run is at work, 75 go on later.
"""

import argparse
import logging
import sys
from pathlib import Path

from pipeline.cli import exit_code
from pipeline.config import load_config
from pipeline.errors import PipelineError
from pipeline.report.html import write_report
from pipeline.run.archive import run_archive
from pipeline.run.events import Event

logger = logging.getLogger("nightly_archive")


def log_event(event: Event) -> None:
    """One line a slide; regions are for people who watch."""
    if event.record is not None:
        state = event.record.score.status
        logger.info("%s/%s %s: %s", event.done, event.total, event.record.name, state)
    elif event.kind == "notice":
        logger.warning("%s", event.message)


def main() -> int:
    """Run the archive once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, help="TOML settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_config(options.config, options.set)
        summary = run_archive(
            options.archive, options.out, config, on_event=log_event, report=write_report
        )
    except PipelineError as error:
        logger.error("%s", error)  # noqa: TRY400 (one line, not a trace)
        return exit_code(error)
    return summary.exit_code


if __name__ == "__main__":  # worker processes import this file
    sys.exit(main())
