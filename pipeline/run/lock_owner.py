"""Who holds an output folder, and whether that process can be proven dead."""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_NAMES = frozenset({"", "localhost", "localhost.localdomain"})
"""Host names that many machines have, so that they name none."""

RECORD_BYTES = 512
"""A record is one write of this size, so that no reader meets half of it."""


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The process that holds a folder, as its lock file says.

    Attributes
    ----------
    process_start
        Clock ticks after the boot, which tell a process from a later one of the same number.
    processes
        Name of the process table; a container has its own, in which numbers mean others.
    started
        UTC time.
    beat
        Counts up while the owner lives.
    beat_boot_s
        The owner's clock since its boot at the last beat; it means nothing on another machine.
    """

    token: str
    pid: int
    host: str
    boot_id: str
    process_start: int | None
    processes: str
    started: str
    beat: int
    beat_boot_s: float

    @classmethod
    def this_process(cls, token: str) -> Self:
        """The calling process, at its first beat."""
        return cls(
            token=token,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=boot_id(),
            process_start=process_start(os.getpid()),
            processes=process_table(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            beat=0,
            beat_boot_s=seconds_since_boot(),
        )

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        """The owner a lock file names; None where it is empty, damaged or of another version."""
        try:
            stored: Mapping[str, Any] = json.loads(content)
            return cls(**stored)
        except (ValueError, TypeError):
            return None

    def written(self) -> bytes:
        """What stands in the lock file, always of the same length."""
        return json.dumps(asdict(self)).encode().ljust(RECORD_BYTES - 1) + b"\n"

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, under this very kernel, since the same boot."""
        return self.boot_id == boot_id() != "unknown"

    @property
    def is_in_reach(self) -> bool:
        """Whether its process number means the same here as there."""
        return self.is_here and self.processes == process_table()

    @property
    def is_this_process(self) -> bool:
        """Whether it is the calling process itself."""
        mine = self.is_in_reach and self.pid == os.getpid()
        return mine and self.process_start == process_start(self.pid)

    @property
    def is_dead(self) -> bool:
        """Whether it is proven that the process is gone; False where that cannot be known."""
        if self.is_here:
            return self.is_in_reach and not self._process_lives()
        # this machine was started again since; a name that many machines have proves nothing
        return self.host == socket.gethostname() and self.host not in _NO_NAMES

    def age_s(self) -> float | None:
        """Seconds since the last beat by the owner's own clock; None on another machine."""
        return max(0.0, seconds_since_boot() - self.beat_boot_s) if self.is_here else None

    def words(self) -> str:
        """Process, host and since when, for a message."""
        age_s = self.age_s()
        beat = "" if age_s is None else f", last heartbeat {age_s:.0f} s ago"
        return f"process {self.pid} on {self.host} since {self.started}{beat}"

    def _process_lives(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass  # it is another user's
        start = process_start(self.pid)
        return start is None or self.process_start is None or start == self.process_start


def boot_id() -> str:
    """Name of this boot of the machine, which containers on it share."""
    return _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else "unknown"


def process_table() -> str:
    """Name of the process table that process numbers here are of."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "unknown"


def process_start(pid: int) -> int | None:
    """Clock ticks from the boot to the start of a process; None where that is not told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # the second field, the name, may hold spaces and brackets
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def seconds_since_boot() -> float:
    """A clock that nobody sets, that counts while the machine sleeps, one for all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
