"""What an earlier run left in a slide's folder, and in words why it does not hold any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.io.done import WITHDRAWN_NAME
from pipeline.io.fingerprint import SlideContent, changed_members
from pipeline.io.results import DONE_NAME
from pipeline.run.job import CONTENT_PART, Key, SlideJob, changed_parts
from pipeline.run.plan import empty_folder, read_json_object, read_work, work_folder, write_key

_NAMED_MOST = 3


@dataclass(frozen=True, slots=True)
class Earlier:
    """Keys and files of an earlier try, whether it holds or not."""

    keys: Key | None = None
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """What `ki67 verify` found."""


def start_over(job: SlideJob, key: Key, score: Key, content: SlideContent) -> str:
    """Keep work of the same key and slide; drop everything else and say why."""
    work, members = work_folder(job.folder), content.as_json()
    begun = read_work(work)
    if begun is not None and begun.key == key and not changed_members(begun.members, members):
        write_key(work, key, score, _known(begun.members, members))
        return ""
    if begun is not None:
        before = Earlier(begun.key | begun.score, begun.members)
    else:
        before = read_earlier(job.folder)
    reason = why(before, key | score, members)
    empty_folder(job.folder)
    write_key(work, key, score, members)
    return reason


def read_earlier(folder: Path) -> Earlier:
    """Read what a slide's done mark says, or said before it was withdrawn."""
    withdrawn = read_json_object(folder / WITHDRAWN_NAME) or {}
    mark = read_json_object(folder / DONE_NAME) or withdrawn
    keys, made, problems = mark.get("keys"), mark.get("made"), withdrawn.get("problems")
    members = made.get("members") if isinstance(made, dict) else None
    return Earlier(
        keys if isinstance(keys, dict) else None,
        members if isinstance(members, dict) else {},
        tuple(map(str, problems)) if isinstance(problems, list) else (),
    )


def why(before: Earlier, key: Key, members: Mapping[str, Mapping[str, Any]]) -> str:
    """Say why a slide is computed again; empty where it is computed for the first time."""
    if before.keys is None and not before.problems:
        return ""
    changed = [] if before.keys is None else changed_parts(before.keys, key)
    files = changed_members(before.members, members)
    if files and CONTENT_PART not in changed:
        changed = [CONTENT_PART, *changed]
    named = [name for name in files if name]
    words = [
        f"{part} ({_few(named)})" if part == CONTENT_PART and named else part for part in changed
    ]
    if words:
        return f"computed again: {', '.join(words)} changed"
    if before.problems:
        return f"computed again: `ki67 verify` withdrew it ({_few(before.problems)})"
    return "computed again: it had failed or a result file is missing"


def _few(words: list[str] | tuple[str, ...]) -> str:
    more = len(words) - _NAMED_MOST
    return "; ".join(words[:_NAMED_MOST]) + (f"; {more} more" if more > 0 else "")


def _known(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    """What is seen now; a sum over every byte that was made once is not lost.

    The mark of a remote object is the present one: it may be the same content, written again.
    """
    return {
        name: {**member, "sha256": member.get("sha256") or before.get(name, {}).get("sha256")}
        for name, member in after.items()
    }
