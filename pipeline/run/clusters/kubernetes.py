"""Workers as pods of the dask operator; the driver reaches the scheduler through the API server."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import dask
from distributed import Client

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.clusters.environment import CONNECT_S, DASK_SETTINGS, job_environment
from pipeline.run.clusters.extras import library
from pipeline.run.clusters.pool import CPU, GPU

DEVICE_LIMIT = "nvidia.com/gpu"
CPU_GROUP = "cpu"


@contextlib.contextmanager
def kubernetes_client(settings: ClusterSettings, *, device: str) -> Iterator[Client]:
    """Yield a client of a DaskCluster made for this run; it is deleted with the block.

    Raises
    ------
    ConfigError
        dask-kubernetes is missing, the API server or the operator does not answer, or nobody has
        said that the pods' network is closed to others.
    """
    if not settings.kubernetes.plain_network:
        raise ConfigError(
            "cluster.kubernetes.plain_network=false: the operator's pods talk without TLS; close "
            "their ports with a NetworkPolicy and set it to true, or run `dask scheduler "
            "--tls-...` yourself and use its tls:// address"
        )
    operator = library("dask_kubernetes.operator", "kubernetes")
    keywords = {
        "custom_cluster_spec": cluster_spec(settings, device=device),
        "namespace": settings.kubernetes.namespace,
        # through the API server's own TLS to loopback, inside the cluster too
        "port_forward_cluster_ip": True,
        "quiet": True,
    }
    with dask.config.set(DASK_SETTINGS), contextlib.ExitStack() as opened:
        try:
            cluster = opened.enter_context(
                operator.KubeCluster(**(keywords | settings.kubernetes.options))
            )
            if device == "cuda":
                group = plain_group(settings)
                cluster.add_worker_group(CPU_GROUP, n_workers=1, custom_spec=group)
        except Exception as error:  # kubeconfig, network, rights, operator: each its own type
            raise ConfigError(
                f"cluster.kind=kubernetes: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        yield opened.enter_context(Client(cluster, timeout=CONNECT_S, set_as_default=False))


def cluster_spec(settings: ClusterSettings, *, device: str) -> dict[str, Any]:
    """Return the ``DaskCluster`` resource: a scheduler and one group of workers.

    Raises
    ------
    ConfigError
        dask-kubernetes is missing.
    """
    kubernetes = settings.kubernetes
    make = library("dask_kubernetes.operator", "kubernetes").make_cluster_spec
    spec: dict[str, Any] = make(
        kubernetes.name,
        image=kubernetes.image,
        n_workers=settings.workers,
        env=job_environment() | _scheduler_environment(settings) | dict(kubernetes.env),
    )
    if kubernetes.namespace is not None:
        spec["metadata"]["namespace"] = kubernetes.namespace
    pod = spec["spec"]["scheduler"]["spec"]
    pod["containers"][0] |= {
        "command": ["dask"],
        "args": ["scheduler", "--host", "0.0.0.0"],  # noqa: S104 (of the pod)
        "resources": _amounts("1", "2Gi"),
    }
    spec["spec"]["scheduler"]["spec"] = _laid_over(settings, pod)
    spec["spec"]["worker"] = worker_group(settings, device=device)
    return spec


def worker_group(settings: ClusterSettings, *, device: str) -> dict[str, Any]:
    """Return a group of workers of one thread, each with its device where there are devices."""
    kubernetes = settings.kubernetes
    resources = _amounts(kubernetes.cpu, kubernetes.memory)
    arguments = ["worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1", "--no-dashboard"]
    if device == "cuda":
        arguments += ["--resources", f"{GPU}=1"]
        resources["limits"][DEVICE_LIMIT] = "1"
    for name in settings.preload:
        arguments += ["--preload", name]
    container = {
        "name": "worker",
        "image": kubernetes.image,
        "command": ["dask"],
        "args": arguments,
        "env": [
            {"name": name, "value": value}
            for name, value in (job_environment() | dict(kubernetes.env)).items()
        ],
        "resources": resources,
    }
    return {
        "replicas": settings.workers,
        "spec": _laid_over(settings, {"containers": [container]}),
    }


def plain_group(settings: ClusterSettings) -> dict[str, Any]:
    """Return the one pod without a device, which plans and finalises in a pool of devices."""
    group = worker_group(settings, device="cpu")
    group["spec"]["containers"][0]["args"] += ["--resources", f"{CPU}=1"]
    return group | {"replicas": 1}


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another, table by table; lists are put behind one another."""
    both = dict(below)
    for name, value in above.items():
        mine = both.get(name)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            both[name] = overlaid(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            both[name] = [*mine, *value]
        else:
            both[name] = value
    return both


def _laid_over(settings: ClusterSettings, pod: Mapping[str, Any]) -> dict[str, Any]:
    first = overlaid(pod["containers"][0], settings.kubernetes.container)
    return overlaid({**pod, "containers": [first]}, settings.kubernetes.pod)


def _scheduler_environment(settings: ClusterSettings) -> dict[str, str]:
    return {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(settings.allowed_failures)}


def _amounts(cpu: str, memory: str) -> dict[str, dict[str, str]]:
    return {name: {"cpu": cpu, "memory": memory} for name in ("requests", "limits")}
