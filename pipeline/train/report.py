"""Evaluation figures as JSON and as Markdown tables."""

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
RATES = tuple(
    (f"{rate}_{name}", f"{rate} {name}", 3)
    for name in ("all", "positive", "negative")
    for rate in ("precision", "recall")
)
DUPLICATES = (("removed", "marks taken out", 0), *COLUMNS[1:4], *COLUMNS[5:7])
SWEEP = (
    ("threshold", "threshold", 2),
    *COLUMNS[1:5],
    ("precision_all", "precision all", 3),
    ("recall_all", "recall all", 3),
    ("index_mae_pct", "index MAE, points", 1),
    ("index_bias_pct", "index bias, points", 1),
)
SWEEP_ROWS = 12

Scores = Mapping[str, Any]


def write_evaluation(out: Path, scores: Scores) -> tuple[Path, Path]:
    """Write ``evaluation.json`` and ``evaluation.md`` into a folder and return their paths.

    Parameters
    ----------
    scores
        Set name -> figures per criterion (``train.scoring.score_detection``).
    """
    paths = out / "evaluation.json", out / "evaluation.md"
    texts = json.dumps(scores, indent=2, sort_keys=True) + "\n", markdown(scores)
    for path, text in zip(paths, texts, strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def markdown(scores: Scores) -> str:
    """Tables of the figures, one group per criterion, one row per set of fields."""
    keys = [key for figures in scores.values() for key in figures if key.startswith("at_")]
    lines = _detectors(scores)
    for key in dict.fromkeys(keys):
        rows = {name: figures[key] for name, figures in scores.items() if key in figures}
        lines += [f"## Cells matched within {_distance(key)}", "", *_table(rows, COLUMNS), ""]
        lines += [*_table(rows, RATES), "", *_confusions(rows), "", *_others(rows)]
        lines += _duplicates(rows)
    for name, figures in scores.items():
        if figures.get("sweep"):
            lines += [f"## Thresholds: {name}", "", *_sweep(figures), ""]
    return "\n".join(lines)


def _distance(key: str) -> str:
    radius, frame = key.removeprefix("at_").rsplit("_", 1)
    unit = "um" if frame == "um" else "px of the field scaled to 512 x 512"
    return f"{radius} {unit}"


def _detectors(scores: Scores) -> list[str]:
    lines = []
    for name, figures in scores.items():
        threshold = figures.get("threshold")
        at = "" if threshold is None else f", threshold {threshold:g}"
        lines.append(f"- {name}: {figures.get('model', '-')}{at}")
    intervals = "Brackets: 95 % bootstrap intervals, groups of fields drawn together."
    return [*lines, "", intervals, ""]


def _table(rows: Mapping[str, Scores], columns: tuple[tuple[str, str, int], ...]) -> list[str]:
    lines = ["| set | " + " | ".join(title for _, title, _ in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for name, figures in rows.items():
        intervals = figures.get("interval95") or {}
        cells = [
            _number(figures.get(key), digits) + _interval(intervals.get(key), digits)
            for key, _, digits in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _interval(pair: tuple[float, float] | None, digits: int) -> str:
    return "" if pair is None else f" [{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def _confusions(rows: Mapping[str, Scores]) -> list[str]:
    lines = ["Matched cells (annotated as, found as):", ""]
    lines.append("| set | pos, pos | pos, neg | neg, pos | neg, neg |")
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name, figures in rows.items():
        counts = figures["confusion"].values()
        lines.append(f"| {name} | " + " | ".join(str(count) for count in counts) + " |")
    return lines


def _others(rows: Mapping[str, Scores]) -> list[str]:
    """False cells on cells that are marked as no tumour cells; nothing where none are marked."""
    lines = []
    for name, figures in rows.items():
        counts = figures.get("not_tumour", {})
        if counts.get("marked"):
            lines.append(
                f"- {name}: {counts['false_cells_on_them']} of {counts['false_cells']} false cells "
                f"lie on one of the {counts['marked']} cells marked as no tumour cells "
                "(lymphocytes)."
            )
    return [*lines, ""] if lines else []


def _duplicates(rows: Mapping[str, Scores]) -> list[str]:
    """The figures with duplicate marks counted once; nothing where there are none."""
    single = {
        name: figures["without_duplicates"]
        for name, figures in rows.items()
        if figures.get("without_duplicates", {}).get("removed")
    }
    if not single:
        return []
    return [
        "Marks in one pixel of the 512-pixel frame counted once:",
        "",
        *_table(single, DUPLICATES),
        "",
    ]


def _sweep(figures: Scores) -> list[str]:
    rows = figures["sweep"]
    best = max(rows, key=lambda row: row["f1_labelled"] or row["f1_all"] or 0.0)
    step = max(1, len(rows) // SWEEP_ROWS)
    shown = [
        row
        for number, row in enumerate(rows)
        if number % step == 0 or row["threshold"] in (figures["threshold"], best["threshold"])
    ]
    marks = {figures["threshold"]: "used"}
    marks[best["threshold"]] = "used, best here" if best["threshold"] in marks else "best here"
    lines = ["| | " + " | ".join(title for _, title, _ in SWEEP) + " |"]
    lines.append("| --- |" + " ---: |" * len(SWEEP))
    for row in shown:
        cells = [_number(row[key], digits) for key, _, digits in SWEEP]
        lines.append(f"| {marks.get(row['threshold'], '')} | " + " | ".join(cells) + " |")
    return [*lines, "", "A threshold chosen on these fields flatters the figures on them."]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
