"""A scheduler that runs already: its address, or the file it wrote its address into."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import dask
from distributed import Client
from distributed.security import Security

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.clusters.environment import CONNECT_S, DASK_SETTINGS
from pipeline.run.clusters.tls import refuse_open_network, security, tls_fault


def scheduler_address(scheduler: str) -> str:
    """Return the address in ``scheduler``, an address itself or a scheduler file.

    Raises
    ------
    ConfigError
        The file has no address, or a network would be crossed without TLS: whoever reaches a
        scheduler without TLS can run code on its workers.
    """
    address = scheduler
    if "://" not in scheduler and Path(scheduler).is_file():
        try:
            address = str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"cluster.scheduler={scheduler}: no scheduler file; dask writes one"
            ) from error
    elif "://" not in scheduler and scheduler.endswith(".json"):
        raise ConfigError(f"cluster.scheduler={scheduler}: no such file; is the scheduler up?")
    if "://" not in address:
        address = f"tcp://{address}"
    refuse_open_network(address, "cluster.scheduler")
    return address


@contextlib.contextmanager
def remote_client(settings: ClusterSettings) -> Iterator[Client]:
    """Yield a client of the scheduler the settings name; the scheduler stays.

    Raises
    ------
    ConfigError
        It does not answer, does not trust us, or is reached over a network without TLS.
    """
    address = scheduler_address(str(settings.scheduler))
    keys = security(settings)
    if address.startswith("tls://") and keys is None:
        raise ConfigError(
            f"cluster.scheduler={address}: TLS needs cluster.tls_ca, tls_cert and tls_key, or "
            "dask's distributed.comm.tls settings"
        )
    with dask.config.set(DASK_SETTINGS), _connected(address, keys) as client:
        yield client


def _connected(address: str, keys: Security | None) -> Client:
    try:
        return Client(address, timeout=CONNECT_S, security=keys, set_as_default=False)
    except (OSError, TimeoutError) as error:
        if fault := tls_fault(error):
            raise ConfigError(
                f"cluster.scheduler={address}: TLS was refused ({fault}); certificate and key "
                "must come from the authority that the scheduler knows"
            ) from error
        raise ConfigError(
            f"cluster.scheduler={address}: no answer in {CONNECT_S} s; start the scheduler "
            "or leave the setting out to run on this machine"
        ) from error
    except RuntimeError as error:  # encryption is asked for and the address has none
        raise ConfigError(
            f"cluster.scheduler={address}: {error}; use its tls:// address"
        ) from error
