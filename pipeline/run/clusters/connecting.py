"""The one entry: a client of the cluster that the settings name."""

import contextlib
from collections.abc import Iterator

from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.run.clusters.address import remote_client
from pipeline.run.clusters.clock import keep_steady_time
from pipeline.run.clusters.environment import quiet
from pipeline.run.clusters.factory import factory_client
from pipeline.run.clusters.kubernetes import kubernetes_client
from pipeline.run.clusters.local import local_client
from pipeline.run.clusters.slurm import slurm_client


@contextlib.contextmanager
def connect(settings: ClusterSettings, *, device: str = "cpu") -> Iterator[Client]:
    """Yield a client of the cluster the settings name; an own cluster is closed afterwards.

    Parameters
    ----------
    device
        What regions are predicted on: ``cuda`` makes an own cluster one worker a device and one
        without.

    Raises
    ------
    ConfigError
        The cluster does not answer, is reached over a network without TLS, needs a library that
        is not installed, or refuses a setting.
    """
    keep_steady_time()
    with quiet(), _client(settings, device) as client:
        yield client


def _client(settings: ClusterSettings, device: str) -> contextlib.AbstractContextManager[Client]:
    kind = settings.chosen
    if kind == "address":
        return remote_client(settings)
    if kind == "slurm":
        return slurm_client(settings, device=device)
    if kind == "kubernetes":
        return kubernetes_client(settings, device=device)
    if kind == "factory":
        return factory_client(settings)
    return local_client(settings, device=device)
