"""Encryption between driver, scheduler and workers: who reaches a scheduler can run code."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed.security import Security

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PLAIN = frozenset({"tcp", "ws", "ucx"})


def security(settings: ClusterSettings) -> Security | None:
    """Return what the settings say, else what dask's own settings say; None when neither does.

    Raises
    ------
    ConfigError
        A file is missing, or holds no certificate or key.
    """
    if settings.tls_ca is None:
        if dask.config.get("distributed.comm.tls.ca-file", None) is None:
            return None
        return Security(require_encryption=True)
    files = {
        name: _file(getattr(settings, name), name) for name in ("tls_ca", "tls_cert", "tls_key")
    }
    _check(files)
    roles = {
        f"tls_{role}_{part}": files[f"tls_{part}"]
        for role in ("client", "scheduler", "worker")
        for part in ("cert", "key")
    }
    return Security(tls_ca_file=files["tls_ca"], require_encryption=True, **roles)


def refuse_open_network(address: str, setting: str) -> None:
    """Refuse an address that is reached over a network without TLS.

    Raises
    ------
    ConfigError
        It is one; ``setting`` names where it comes from.
    """
    parts = urlsplit(address)
    if parts.scheme in _PLAIN and parts.hostname not in LOOPBACK:
        raise ConfigError(
            f"{setting}={address}: not on this machine and without TLS; use a tls:// address "
            "with cluster.tls_ca, tls_cert and tls_key or dask's distributed.comm.tls settings"
        )


def tls_fault(error: BaseException) -> str:
    """What OpenSSL says in an error or in one of its causes; empty when it is not about TLS."""
    fault: BaseException | None = error
    while fault is not None:
        if isinstance(fault, ssl.SSLError):
            return str(getattr(fault, "verify_message", "") or fault.reason or fault)
        fault = fault.__cause__ or fault.__context__
    return "TLS handshake failed" if "TLS handshake failed" in str(error) else ""


def _file(name: str, setting: str) -> str:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"cluster.{setting}={name}: no such file; give a PEM file")
    return str(path.resolve())


def _check(files: dict[str, str]) -> None:
    """Load the files once here: dask would say on a bad one only that nobody answers."""
    try:
        context = ssl.create_default_context(cafile=files["tls_ca"])
        context.load_cert_chain(files["tls_cert"], files["tls_key"])
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"cluster.tls_ca, tls_cert and tls_key: not a certificate authority, a certificate "
            f"and its key in PEM form ({getattr(error, 'reason', None) or error})"
        ) from error
