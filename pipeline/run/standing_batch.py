"""How far an output folder is, from its files alone: fast, read only, beside a run or after it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.io.results import DONE_NAME, SCORE_NAME
from pipeline.run.lock import lock_owner
from pipeline.run.plan import REGION_SUFFIX, read_json_object, work_folder
from pipeline.run.refused import last_refusal

_GOOD = {"ok": "ok", "ok_with_flags": "flagged", "deferred": "deferred", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class SlideStanding:
    """One slide: its state, and of one that is under way how many regions are done."""

    slide_id: str
    name: str
    state: str
    reason: str | None = None
    regions_done: int | None = None
    regions: int | None = None


@dataclass(frozen=True, slots=True)
class BatchStanding:
    """An output folder.

    Attributes
    ----------
    slides
        Those that have a folder, by id.
    pending
        Slides that the last run was asked for and nothing is there of yet.
    last_run
        ``run_id``, ``status``, ``started``, ``ended``, ``exit_code``; empty without one.
    """

    slides: tuple[SlideStanding, ...]
    pending: tuple[str, ...]
    last_run: Mapping[str, Any] = field(default_factory=dict)
    held_by: str | None = None

    def counts(self) -> dict[str, int]:
        """Slides by state, pending ones too."""
        found: dict[str, int] = {}
        for slide in self.slides:
            found[slide.state] = found.get(slide.state, 0) + 1
        return found | ({"pending": len(self.pending)} if self.pending else {})

    def next_step(self, out: Path) -> str:
        """Say in one line what to do."""
        counts = self.counts()
        if self.held_by:
            return "a run is at work; ask again later"
        left = [name for name in _LEFT if counts.get(name)]
        if left:
            return f"run the same `ki67 run` again: {', '.join(_LEFT[name] for name in left)}"
        if counts.get("failed_known") or counts.get("refused"):
            return "slides failed for good: mend the files or the settings, or use --retry-failed"
        return f"nothing is left to do; `ki67 verify {out}` reads every file again"


_LEFT = {
    "pending": "slides are not begun",
    "in_progress": "slides are half done",
    "failed_new": "failed slides will be tried again",
    "deferred": "deferred slides will be looked at again",
    "damaged": "damaged scores will be made again",
}


def batch_standing(out: Path) -> BatchStanding:
    """Look at an output folder; nothing is created or locked.

    Raises
    ------
    ConfigError
        It is no output folder.
    """
    if not (out / "slides").is_dir() and not (out / "runs").is_dir():
        raise ConfigError(f"{out}: no slides/ in it; give the folder of `ki67 run --out`")
    folders = sorted((out / "slides").iterdir()) if (out / "slides").is_dir() else []
    slides = tuple(found for folder in folders if (found := _slide(folder)) is not None)
    last = _last_run(out)
    owner = lock_owner(out)
    held = None if owner is None or owner.is_dead else owner.words()
    status = last.get("status")
    if status == "running" and held is None:
        status = "died"
    keys = ("run_id", "started", "ended", "exit_code")
    run = {name: last.get(name) for name in keys} | {"status": status} if last else {}
    there = {slide.slide_id for slide in slides}
    names = zip(last.get("slide_ids") or (), last.get("inputs") or (), strict=False)
    pending = tuple(name for slide_id, name in names if slide_id not in there)
    return BatchStanding(slides, pending, run, held)


def _slide(folder: Path) -> SlideStanding | None:
    """A slide under way has a work folder; otherwise its score says how it ended."""
    work, slide_id = work_folder(folder), folder.name
    done = (folder / DONE_NAME).exists()
    if not done and work.is_dir():
        plan = read_json_object(work / "plan.json")
        if plan is not None:
            total = len(plan.get("regions", ()))
            name = str(plan.get("slide", {}).get("name", slide_id))
            return SlideStanding(slide_id, name, "in_progress", None, _regions_done(work), total)
        if not (folder / SCORE_NAME).exists():
            return SlideStanding(slide_id, slide_id, "in_progress")
    try:
        score = json.loads((folder / SCORE_NAME).read_bytes())
        status, reason, name = score["status"], score["reason"], str(score["slide"]["name"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return SlideStanding(slide_id, slide_id, "damaged", "score.json cannot be read")
    if status == "failed":
        return SlideStanding(slide_id, name, "failed_known" if done else "failed_new", reason)
    if not done and status not in ("deferred", "skipped"):
        return SlideStanding(slide_id, name, "damaged", "no done mark")
    if refused := last_refusal(folder):
        return SlideStanding(slide_id, name, "refused", f"an earlier result stands; {refused}")
    return SlideStanding(slide_id, name, _GOOD.get(status, status), reason)


def _regions_done(work: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(1 for path in (work / "regions").iterdir() if path.suffix == REGION_SUFFIX)
    return 0


def _last_run(out: Path) -> dict[str, Any]:
    """The last run's record; those of scorings are none."""
    for path in sorted((out / "runs").glob("*.json"), reverse=True):
        record = read_json_object(path)
        if record is not None and record.get("kind", "run") == "run":
            return record
    return {}
