"""What statuses and flags mean and what to do about them, in plain words."""

from dataclasses import dataclass

from pipeline.io.score import Status


@dataclass(frozen=True, slots=True)
class Wording:
    """How a status is shown.

    Attributes
    ----------
    label
        Two or three words.
    tone
        Style of the badge: bad, warn, good or idle.
    remedy
        What to do; empty where there is nothing to do.
    rank
        Place in the list: what needs a hand comes first.
    """

    label: str
    tone: str
    remedy: str
    rank: int


STATUS_WORDS: dict[Status, Wording] = {
    "failed": Wording(
        "failed",
        "bad",
        "No number was made. Mend what the reason names, then run the same command again with "
        "--retry-failed; the other slides are not touched.",
        0,
    ),
    "deferred": Wording(
        "deferred", "warn", "It was put off; the next run of the same command tries it again.", 1
    ),
    "skipped": Wording("skipped", "idle", "It was left out on request.", 2),
    "no_tissue": Wording(
        "no tissue",
        "warn",
        "Look at the picture. If there is tissue, it may be smaller than tissue.min_piece_mm2 or "
        "too pale to be told from the glass.",
        3,
    ),
    "too_few_cells": Wording(
        "too few cells",
        "warn",
        "The index is shown but rests on too few cells to be put in a category. Check that the "
        "outline holds all of the tissue, or count more slides of the case.",
        4,
    ),
    "ok_with_flags": Wording("look at flags", "warn", "", 5),
    "ok": Wording("ok", "good", "", 6),
}

FLAG_WORDS = {
    "unreadable_tiles": "Part of the tissue could not be read. It is left out of the analysed area "
    "and drawn as “Unreadable tiles”; copying the slide again may mend it.",
}


def flag_words(flag: str) -> str:
    """Explain a flag; one without an explanation shows its own name."""
    return FLAG_WORDS.get(flag, flag.replace("_", " "))
