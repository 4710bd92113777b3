"""Names from outside stay names: in tables that spreadsheets open, in folders and on terminals."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.preflight import slide_line, table_text
from pipeline.io.results import text_cell
from pipeline.report.agreement import _slides_csv
from pipeline.run.preflight.outlook import Outlook
from pipeline.run.preflight.survey import Survey

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline"
FORMULAS = ["=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1"]
NUMBERS_ONLY = {"train/loop.py"}
"""Tables whose cells this program makes itself: losses by epoch."""


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def runs(cell: str) -> bool:
    """Whether a spreadsheet would take the cell for a formula; a number is none."""
    try:
        float(cell)
    except ValueError:
        return cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
    return False


@given(st.text())
def test_no_text_is_a_formula_or_has_a_second_line(text: str) -> None:
    cell = text_cell(text)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert len(cell.splitlines()) <= 1
    cell.encode("utf-8")


def test_every_table_of_the_package_knows_the_rule() -> None:
    writers = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }
    unguarded = {
        name
        for name, source in writers.items()
        if ("csv.writer(" in source or "csv.DictWriter(" in source)
        and "text_cell" not in source
        and "_FORMULA_STARTS" not in source
    }
    assert unguarded == NUMBERS_ONLY


@pytest.mark.parametrize("name", FORMULAS)
def test_preflight_and_agreement_keep_formulas_out(name: str) -> None:
    slide = Outlook("safe-00000000", name, "will fail", name)
    table = table_text(Survey((slide,), None, None, 0, "not measured"))
    assert not any(map(runs, cells(table)))
    joined = SimpleNamespace(
        readers={name: np.array([1.0])},
        rows=[SimpleNamespace(slide_id="safe-00000000", name=name, status="ok")],
        found_pct=np.array([2.0]),
    )
    assert not any(map(runs, cells(_slides_csv(SimpleNamespace(joined=joined)))))  # type: ignore[arg-type]


def test_a_name_cannot_command_a_terminal() -> None:
    slide = Outlook("safe-00000000", "a\x1b[2J\x07\nb.svs", "will fail", "a\x1b]0;title\x07")
    line = slide_line(slide)
    assert line.isprintable()
    assert "[2J" in line
