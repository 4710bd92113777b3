"""Arrow arrays by their buffers: pyarrow's own conversions import pandas first.

That takes a third of a second in every worker and once more at the end of a run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any]) -> pa.Array:
    """Numbers without gaps; the memory is shared where it is contiguous."""
    whole = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(whole.dtype)
    return pa.Array.from_buffers(kind, len(whole), [None, pa.py_buffer(whole)])


def texts(words: Sequence[str | None]) -> pa.Array:
    """Texts, None where there is none."""
    coded = [(word or "").encode() for word in words]
    ends = np.cumsum([0, *map(len, coded)], dtype=np.int32)
    there = np.packbits(np.array([word is not None for word in words], bool), bitorder="little")
    buffers = [pa.py_buffer(there), pa.py_buffer(ends), pa.py_buffer(b"".join(coded))]
    return pa.Array.from_buffers(pa.string(), len(coded), buffers)


def text(word: str) -> pa.Scalar:
    """One text, for the functions of ``pyarrow.compute``."""
    return texts([word])[0]


def chosen(code: NDArray[np.uint8], words: Sequence[str | None]) -> pa.Array:
    """The text of each code: its row of ``words``."""
    return texts(words).take(numbers(code))


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Numbers of a column without gaps, copied.

    Raises
    ------
    ValueError
        A value is missing.
    """
    if column.null_count:
        raise ValueError(f"{column.null_count} values are missing")
    kind = np.dtype(column.type.to_pandas_dtype())
    parts = [
        np.frombuffer(chunk.buffers()[1], kind)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, kind), *parts])
