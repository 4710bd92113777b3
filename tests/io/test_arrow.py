"""Arrow arrays by their buffers: what pyarrow itself would make, and pandas stays where it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import OutputError
from pipeline.io.arrow import chosen, numbers, text, texts, to_numpy
from pipeline.io.cells import read_cells

ROOT = Path(__file__).resolve().parents[2]


@given(st.sampled_from(["u1", "i4", "f4", "f8"]).flatmap(lambda kind: arrays(kind, (7,))))
def test_numbers_are_those_of_pyarrow_and_come_back(values: np.ndarray) -> None:
    made = numbers(values[::2])
    made.validate(full=True)
    assert made.type == pa.array(values).type
    column = pa.chunked_array([made, made.slice(1), made[:0]])
    assert to_numpy(column).tobytes() == np.concatenate([values[::2], values[2::2]]).tobytes()


@given(st.lists(st.none() | st.text(max_size=5)))
def test_texts_are_those_of_pyarrow(words: list[str | None]) -> None:
    made = texts(words)
    made.validate(full=True)
    assert made.equals(pa.array(words, pa.string()))


def test_a_code_chooses_its_word() -> None:
    made = chosen(np.array([2, 0, 1], np.uint8), ["no", None, "µm"])
    assert made.to_pylist() == ["µm", "no", None]
    assert text("µm").as_py() == "µm"


def test_a_missing_value_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 values are missing"):
        to_numpy(pa.chunked_array([pa.array([1.0, None])]))
    columns = {"x_l0": [1.0, None], "y_l0": [1.0, 2.0], "score": [0.5, 0.5]}
    pq.write_table(pa.table(columns | {"label": ["positive"] * 2}), tmp_path / "cells.parquet")
    with pytest.raises(OutputError, match="cells lack a value"):
        read_cells(tmp_path / "cells.parquet")


def test_cells_are_written_and_read_without_pandas(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
import numpy as np
from pipeline.core.points import CellPoints
from pipeline.io.cells import read_cells, write_cells
from pipeline.io.cells_text import write_cells_csv, write_cells_geojson
folder, x_l0 = Path({str(tmp_path)!r}), np.arange(3.0)
points = CellPoints(x_l0, x_l0, x_l0.astype(np.float32), np.array([0, 1, 1], np.uint8))
write_cells(folder / "cells.parquet", points, {{}})
assert read_cells(folder / "cells.parquet").label.tolist() == [0, 1, 1]
write_cells_csv(folder / "cells.csv.gz", points, offset_x_l0=0, offset_y_l0=0)
write_cells_geojson(folder, points, offset_x_l0=0, offset_y_l0=0, radius_px=4)
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
