"""A watch: look at the inputs again and again, and score what has arrived complete.

Polling, because archives are network mounts, whose servers tell no client what others write. One
process holds the lock all the time; workers live only while there is something to score, so that
an idle watch keeps neither a model nor a device, and a cluster that died meanwhile is not missed.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, InterruptedRunError
from pipeline.io.arrivals import Look, look_at, unsettled
from pipeline.io.done import read_done
from pipeline.io.remote import is_url
from pipeline.io.sources import SlideInput, discover
from pipeline.run.archive import run_slides
from pipeline.run.events import Event, RunSummary, SlideRecord
from pipeline.run.opened import OpenedFolder, opened
from pipeline.run.region_of_interest import absolute_files

LONGEST_BACK_OFF_S = 3600.0
"""A slide that failed for a passing reason is tried again at least so often."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a watch looks, and how long without any arrival it goes on.

    Attributes
    ----------
    every_s
        From the end of one look, or of what it led to, to the next.
    idle_exit_s
        None: until it is stopped.
    """

    every_s: float = 60.0
    idle_exit_s: float | None = None

    def __post_init__(self) -> None:
        if self.every_s <= 0:
            raise ConfigError(f"--every {self.every_s:g}: give more than 0 seconds")
        if self.idle_exit_s is not None and self.idle_exit_s < 0:
            raise ConfigError(f"--idle-exit {self.idle_exit_s:g}: give 0 seconds or more")


@dataclass(slots=True)
class _Seen:
    """What a watch knows of one slide."""

    mark: str
    since_s: float
    """When its files were first seen as they are now."""
    settled: bool
    """It was old when the watch began."""
    handled: bool = False
    """It ended as it is now: a result, or a failure that the next try would only repeat."""
    told: bool = False
    """It was said that it is arriving."""
    tries: int = 0
    not_before_s: float = 0.0


def watch_archive(
    inputs: Sequence[str | Path],
    out: Path,
    config: RunConfig,
    rhythm: Rhythm,
    *,
    on_event: Callable[[Event], None] | None = None,
    report: Callable[[Path], object] | None = None,
    retry_failed: bool = False,
) -> RunSummary:
    """Score slides as they arrive, until stopped or idle; arguments as of ``run_archive``.

    Returns
    -------
    RunSummary
        How each slide ended last; ``run_id`` is that of the last batch, empty without one.

    Raises
    ------
    ConfigError, ModelError, LockedError, OutputError
        As ``run_archive``; inputs that are not there are waited for.
    InterruptedRunError
        Stopped in the middle of a batch, or it could not go on; the same call goes on from there.
    """
    config = absolute_files(config)
    with opened(out, config, on_event=on_event, retry_failed=retry_failed) as folder:
        return _Watch(folder, inputs, rhythm, report).run()


class _Watch:
    """The slides seen so far and what became of them."""

    def __init__(
        self,
        folder: OpenedFolder,
        inputs: Sequence[str | Path],
        rhythm: Rhythm,
        report: Callable[[Path], object] | None,
    ) -> None:
        self._folder, self._inputs, self._rhythm = folder, inputs, rhythm
        self._report = report
        self._settings = folder.config.inputs
        self._seen: dict[str, _Seen] = {}
        self._ended: dict[str, SlideRecord] = {}
        self._held: set[str] = set()
        self._told: dict[str, str] = {}
        self._run_id = ""
        self._looked = False
        self._stirred_s = time.monotonic()

    def run(self) -> RunSummary:
        """Look, score, wait."""
        stop = self._folder.stop
        while not stop.requested:
            slides = self._find()
            if slides is not None and (ready := self._ready(slides)):
                self._score(ready)
                self._stirred_s = time.monotonic()
            left_s = self._rhythm.every_s
            if self._rhythm.idle_exit_s is not None:
                idle_s = time.monotonic() - self._stirred_s
                left_s = min(left_s, self._rhythm.idle_exit_s - idle_s)
                if left_s <= 0:
                    break
            stop.wait(left_s)
        if stop.requested and not stop.by_user:
            raise InterruptedRunError(stop.words)
        return RunSummary(self._run_id, tuple(self._ended[key] for key in sorted(self._ended)))

    def _find(self) -> list[SlideInput] | None:
        """List the slides of all inputs; None while an input is away.

        The others are not taken meanwhile: the names that tell equal paths apart need them all.
        """
        found = {str(text): self._found(text) for text in self._inputs}
        if None in found.values():
            return None
        holding = [text for text, slides in found.items() if slides]
        if len(holding) < 2:
            return found[holding[0]] or [] if holding else []
        return discover(holding, self._settings)

    def _found(self, text: str | Path) -> list[SlideInput] | None:
        """Slides of one input; None while it is away, which is told once."""
        name = str(text)
        try:
            path = Path(text).expanduser()
            if is_url(name) or has_magic(name) or path.exists():
                slides = discover([text], self._settings)
            else:
                self._away(name, f"{name} is not there; waiting for it")
                return None
        except ConfigError as error:
            if "no slides" not in str(error):
                self._away(name, f"{error}; waiting")
                return None
            slides = []
        except OSError as error:  # a file server that does not answer
            self._away(name, f"{name}: {error.strerror or error}; waiting")
            return None
        if slides:
            self._held.add(name)
        elif name in self._held:
            self._away(name, f"{name} holds no slides any more, is it mounted? waiting")
            return None
        if self._told.pop(name, None):
            self._notice(f"{name} is there again")
        return slides

    def _away(self, name: str, words: str) -> None:
        if self._told.get(name) != words:
            self._told[name] = words
            self._notice(words)

    def _ready(self, slides: Iterable[SlideInput]) -> list[SlideInput]:
        """Of the slides, those that are complete and not handled yet."""
        ready, arriving, now_s = [], [], time.monotonic()
        for slide in slides:
            look = Look("", 0.0) if slide.is_remote else look_at(slide.path)
            if look is None:
                self._forget_failure(slide)
                continue
            seen = self._noted(slide, look, now_s)
            if seen.handled or now_s < seen.not_before_s:
                continue
            if self._is_complete(slide, seen, now_s):
                ready.append(replace(slide, deferred=None))
            elif not seen.told:
                seen.told = True
                arriving.append(slide.relative)
        self._looked = True
        if arriving:
            more = f" and {len(arriving) - _NAMED} more" if len(arriving) > _NAMED else ""
            self._notice(f"arriving: {', '.join(arriving[:_NAMED])}{more}")
        return ready

    def _noted(self, slide: SlideInput, look: Look, now_s: float) -> _Seen:
        seen = self._seen.get(slide.slide_id)
        if seen is None or seen.mark != look.mark:
            settle_s = self._settings.settle_s
            old = unsettled(look, settle_s=settle_s, now_s=time.time()) is None
            settled = slide.is_remote or settle_s <= 0 or (old and not self._looked)
            seen = _Seen(look.mark, now_s, settled, told=seen is not None and not seen.handled)
            self._seen[slide.slide_id] = seen
            self._stirred_s = now_s
        return seen

    def _is_complete(self, slide: SlideInput, seen: _Seen, now_s: float) -> bool:
        """Whether all files are there and stopped growing.

        A slide that appears while the watch looks on is taken only when two looks ``settle_s``
        apart found the same, however old its files say they are: copies can keep old times.
        """
        if slide.skipped is not None:
            return True
        if slide.location.lower().endswith(".mrxs") and not slide.is_remote:
            folder = slide.path.with_suffix("")
            if not folder.is_dir():  # the small file is often copied first
                return False
        return seen.settled or now_s - seen.since_s >= self._settings.settle_s

    def _forget_failure(self, slide: SlideInput) -> None:
        """A slide that went away, and did not end well, is tried when it is there again."""
        seen = self._seen.get(slide.slide_id)
        if seen is not None and not seen.handled:
            del self._seen[slide.slide_id]

    def _score(self, ready: Sequence[SlideInput]) -> None:
        summary = run_slides(ready, self._folder, self._report)
        self._run_id, slides = summary.run_id, self._folder.out / "slides"
        for record in summary.records:
            self._ended[record.slide_id] = record
            seen = self._seen[record.slide_id]
            if record.outcome == "deferred":
                seen.since_s, seen.settled = time.monotonic(), False
            elif record.failed and read_done(slides / record.slide_id) is None:
                seen.tries += 1
                pause_s = self._rhythm.every_s * 2.0 ** min(seen.tries, 20)
                seen.not_before_s = time.monotonic() + min(pause_s, LONGEST_BACK_OFF_S)
            else:
                seen.handled = True

    def _notice(self, message: str) -> None:
        self._folder.emit(Event("notice", message=message))
