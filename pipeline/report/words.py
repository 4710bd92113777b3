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
    "no_region_of_interest": "Regions of interest were asked for and this slide has none: "
    "all of its tissue was counted.",
    "not_ki67_like": "The colours are not those of a Ki-67 stain: much of the tissue is pink. "
    "Check that this is no H&E or other stain before you use the number.",
    "no_haematoxylin": "Hardly any blue counterstain: negative nuclei cannot be seen, so the index "
    "is too high or has no meaning.",
    "no_dab": "Hardly any brown: no cell is stained, or the stain failed. Look at the on-slide "
    "control.",
    "understained": "The counterstain is pale. Negative nuclei may be missed, which raises the "
    "index.",
    "overstained": "The stain is dark or the background is coloured. Positive and negative may be "
    "mixed up; look at the crops.",
    "blurred": "Part of the tissue is out of focus. Cells there are not counted where it is "
    "excluded; scanning again mends it.",
    "pen": "There is pen on the glass. What it covers is not counted where it is excluded.",
    "fold": "The tissue is folded. Folds are dark and hold cells twice; they are not counted where "
    "they are excluded.",
    "debris": "Dirt or debris lies on the tissue. It is not counted where it is excluded.",
    "pigment": "There is brown that sits in no nucleus, such as pigment. It may be taken for "
    "stain; look at the crops.",
    "tissue_at_edge": "Tissue reaches the border of the scan: part of it may be missing.",
    "mask_disagreement": "Two ways to find the tissue disagree. Look whether the outline holds all "
    "of it and nothing else.",
    "classical_disagreement": "A simple colour method gives a rather different index. One of the "
    "two is wrong here: look at the crops.",
}
"""Flag -> what it means and what to do; the names are those of score.json."""


def status_wording(status: Status) -> Wording:
    """How a status is shown."""
    return STATUS_WORDS[status]


def flag_words(flag: str) -> str:
    """Explain a flag; one without an explanation shows its own name."""
    return FLAG_WORDS.get(flag, flag.replace("_", " "))
