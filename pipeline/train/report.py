"""Evaluation figures as JSON and as a Markdown table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.io.files import atomic_path

COLUMNS = (
    ("fields", "fields", 0),
    ("f1_all", "F1 all", 3),
    ("f1_positive", "F1 positive", 3),
    ("f1_negative", "F1 negative", 3),
    ("f1_labelled", "F1 labelled", 3),
    ("count_mae", "count MAE", 1),
    ("count_rmse", "count RMSE", 1),
    ("index_mae_pct", "index MAE, points", 1),
    ("index_bias_pct", "index bias, points", 1),
    ("index_true_pct", "index annotated, %", 1),
    ("index_found_pct", "index found, %", 1),
)


def write_evaluation(out: Path, scores: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write ``evaluation.json`` and ``evaluation.md`` into a folder and return their paths.

    Parameters
    ----------
    scores
        Set name -> figures per match radius (``train.scoring.score_model``).
    """
    paths = out / "evaluation.json", out / "evaluation.md"
    texts = json.dumps(scores, indent=2, sort_keys=True) + "\n", markdown(scores)
    for path, text in zip(paths, texts, strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def markdown(scores: Mapping[str, Any]) -> str:
    """Tables of the figures, one per match radius, one row per set of fields."""
    radii = [key for figures in scores.values() for key in figures if key.startswith("at_")]
    lines = []
    for key in dict.fromkeys(radii):
        radius = key.removeprefix("at_").removesuffix("_um")
        lines += [f"## Cells matched within {radius} um", ""]
        lines.append("| set | " + " | ".join(title for _, title, _ in COLUMNS) + " |")
        lines.append("| --- |" + " ---: |" * len(COLUMNS))
        lines += [_row(name, figures[key]) for name, figures in scores.items()]
        lines += ["", *_confusions(scores, key), ""]
    return "\n".join(lines)


def _row(name: str, figures: Mapping[str, Any]) -> str:
    values = [_number(figures.get(key), digits) for key, _, digits in COLUMNS]
    return f"| {name} | " + " | ".join(values) + " |"


def _confusions(scores: Mapping[str, Any], key: str) -> list[str]:
    lines = ["Matched cells (annotated as, found as):", ""]
    lines.append("| set | pos, pos | pos, neg | neg, pos | neg, neg |")
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name, figures in scores.items():
        counts = figures[key]["confusion"].values()
        lines.append(f"| {name} | " + " | ".join(str(count) for count in counts) + " |")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
