"""A cluster started by dask's own commands, as an administrator would, with or without TLS."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.processes import await_true, start

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class CommandCluster:
    """``dask scheduler`` and ``dask worker`` processes on loopback.

    Parameters
    ----------
    flags
        Given to both commands: the ``--tls-...`` files.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.file = folder / "scheduler.json"
        self._folder, self._flags = folder, flags
        self._processes: list[subprocess.Popen[str]] = []
        protocol = "tls" if flags else "tcp"
        listen = ("--host", "127.0.0.1", "--port", "0", "--protocol", protocol)
        self.scheduler = self._start(
            "scheduler", *listen, "--scheduler-file", str(self.file), "--no-dashboard", *flags
        )
        await_true(self.file.exists, of=self.scheduler)

    def worker(self, *more: str, **environment: str) -> subprocess.Popen[str]:
        """Start one worker of one thread; it comes when it comes."""
        place = ("--scheduler-file", str(self.file), "--host", "127.0.0.1")
        scratch = ("--local-directory", str(self._folder), "--no-dashboard")
        threads = () if "--nthreads" in more else ("--nthreads", "1")
        return self._start("worker", *place, *scratch, *threads, *more, *self._flags, **environment)

    def close(self) -> None:
        """End every process of it."""
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        process = start(
            [str(BIN / "dask"), *command],
            cwd=self._folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process


@contextmanager
def command_cluster(
    folder: Path, flags: Sequence[str] = (), *, workers: int = 0
) -> Iterator[CommandCluster]:
    """Run a cluster while the body runs."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = CommandCluster(folder, flags)
    try:
        for _ in range(workers):
            cluster.worker()
        yield cluster
    finally:
        cluster.close()


def certificates(folder: Path) -> dict[str, str]:
    """Write a new authority and a certificate of it; the settings that name them."""
    folder.mkdir()
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: folder / f"{name}.pem" for name in ("tls_ca", "tls_cert", "tls_key")}
    authority.cert_pem.write_to_path(str(files["tls_ca"]))
    own.cert_chain_pems[0].write_to_path(str(files["tls_cert"]))
    own.private_key_pem.write_to_path(str(files["tls_key"]))
    return {name: str(path) for name, path in files.items()}
