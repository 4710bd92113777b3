"""An output folder in a run's hands: locked, tidied, with what every slide of it will share."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.io.files import make_folder
from pipeline.io.staging import settle_all
from pipeline.model.card import ModelCard, load_card
from pipeline.model.engine import require_engine
from pipeline.model.signed import check_signed
from pipeline.model.zoo import resolve_model
from pipeline.run.clusters.versions import decisive_versions
from pipeline.run.events import Event
from pipeline.run.forks.early import start_early
from pipeline.run.job import CellRule, SlideJob
from pipeline.run.lock import locked
from pipeline.run.space import check_space
from pipeline.run.stop import StopRequest, stop_on_signals
from pipeline.run.tries import clear_tries
from pipeline.run.watching import watched


@dataclass(frozen=True, slots=True)
class OpenedFolder:
    """What the batches of one process have in common.

    Attributes
    ----------
    common
        A job without a slide.
    emit
        Where events go.
    """

    common: SlideJob
    card: ModelCard
    stop: StopRequest
    emit: Callable[[Event], None]

    @property
    def out(self) -> Path:
        """The output folder, absolute."""
        return Path(self.common.out)

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return self.common.config

    def next_run(self) -> SlideJob:
        """Make the folder ready for a batch and return what its jobs share, its run id among it.

        Raises
        ------
        OutputError
            The folder cannot be written, or its disk is full.
        """
        check_space(self.out, 0, what="a run")
        settle_all(self.out)
        clear_tries(self.out)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        return replace(self.common, run_id=run_id)


@contextmanager
def opened(
    out: Path, config: RunConfig, *, on_event: Callable[[Event], None] | None, retry_failed: bool
) -> Iterator[OpenedFolder]:
    """Check model and settings, then hold ``out`` and answer signals while the body runs.

    Raises
    ------
    ConfigError, ModelError, LockedError, OutputError
        As ``run_archive``; nothing was started.
    """
    folder = resolve_model(config.prediction.model)
    card = load_card(folder)
    card.check_slides_allowed()
    require_engine(card.engine(config.prediction.engine))
    weights_sha256 = check_signed(folder, card)
    threshold = CellRule.of(config, card).threshold
    if config.score.calibration:
        # here: scipy, which most drivers do without
        from pipeline.run.figures import stored_calibration

        stored_calibration(config, weights_sha256=weights_sha256, threshold=threshold)
    start_early(config)
    make_folder(out)
    out = out.resolve()
    with locked(out) as lock, stop_on_signals() as stop:
        lock.when_taken(stop.ask)
        common = SlideJob(
            slide_id="",
            path="",
            name="",
            out=str(out),
            config=config,
            model_folder=str(folder),
            weights_sha256=weights_sha256,
            run_id="",
            retry_failed=retry_failed,
            versions=decisive_versions(),
        )
        with watched(config, on_event or _ignore) as emit:
            yield OpenedFolder(common, card, stop, emit)


def _ignore(event: Event) -> None:
    """Nobody asked."""
