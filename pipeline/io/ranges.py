"""A remote object as a file: parts are fetched when they are read, and kept for a while."""

import time

from fsspec.spec import AbstractBufferedFile

from pipeline.errors import SlideError
from pipeline.io.objects import read_range
from pipeline.io.remote import url_name
from pipeline.io.remote_slides import RemoteFile

BLOCK_BYTES = 1 << 18
"""Fetched at once: a dozen compressed tiles, which lie side by side."""

BLOCKS = 128
"""Kept: 32 MiB a file."""

_FAULT_LASTS_S = 2.0
"""A reader asks for many tiles at once; when one of them could not be had, the others are not
each waited for."""


class RangeFile(AbstractBufferedFile):  # type: ignore[misc]
    """Read-only; a network fault is an error of its own kind here, never a damaged slide.

    Readers take what an operating system raises for damage, and damage becomes a white tile.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._url = file.url
        self.fetched_bytes = 0
        self._fault: SlideError | None = None
        self._fault_s = 0.0
        super().__init__(
            None,
            url_name(file.url),
            mode="rb",
            block_size=BLOCK_BYTES,
            cache_type="blockcache",
            cache_options={"maxblocks": BLOCKS},
            size=file.state.size,
        )

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self.size)  # the last block is asked for as if it were whole
        if self._fault is not None and time.monotonic() - self._fault_s < _FAULT_LASTS_S:
            raise type(self._fault)(str(self._fault))
        try:
            found = read_range(self._url, start, end)
        except SlideError as error:
            self._fault, self._fault_s = error, time.monotonic()
            raise
        self.fetched_bytes += end - start
        return found

    @property
    def name(self) -> str:
        """File name, which tifffile asks for."""
        return str(self.path)
