"""A remote object as a file: parts are fetched when they are read, and kept for a while."""

from fsspec.spec import AbstractBufferedFile

from pipeline.io.objects import read_range
from pipeline.io.remote import url_name
from pipeline.io.remote_slides import RemoteFile

BLOCK_BYTES = 1 << 18
"""Fetched at once: a dozen compressed tiles, which lie side by side."""

BLOCKS = 128
"""Kept: 32 MiB a file."""


class RangeFile(AbstractBufferedFile):  # type: ignore[misc]
    """Read-only; a network fault is an error of its own kind here, never a damaged slide.

    Readers take what an operating system raises for damage, and damage becomes a white tile.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._url = file.url
        self.fetched_bytes = 0
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
        self.fetched_bytes += end - start
        return read_range(self._url, start, end)

    @property
    def name(self) -> str:
        """File name, which tifffile asks for."""
        return str(self.path)
