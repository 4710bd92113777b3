"""Settings of where tasks run; none of them changes a result."""

import re
from datetime import time
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.config.section import Section

ClusterKind = Literal["local", "address", "slurm", "kubernetes", "factory"]

_WALLTIME = re.compile(r"^(?:(?P<days>\d+)-)?(?P<h>\d{1,3}):(?P<m>[0-5]\d):(?P<s>[0-5]\d)$")


class SlurmSettings(Section):
    """One worker a job, of kind ``slurm``."""

    queue: str | None = Field(None, description="partition")
    account: str | None = Field(None, description="what the hours are booked on")
    cores: int = Field(2, ge=1, description="of a job")
    memory: str = Field("8GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="of a job")
    walltime: str = Field("04:00:00", description="of a job, [days-]hours:minutes:seconds")
    directives: tuple[str, ...] = Field((), description="more #SBATCH lines, without #SBATCH")
    prologue: tuple[str, ...] = Field((), description="shell lines before the worker starts")
    python: str | None = Field(None, description="of the jobs; None: the one that runs this")
    interface: str | None = Field(None, description="network interface, ib0 for example")
    logs: str | None = Field(None, description="folder of the jobs' output")
    shared: str | None = Field(None, description="folder of certificates; None: the home folder")
    options: dict[str, Any] = Field(
        default_factory=dict, description="more keywords of dask_jobqueue.SLURMCluster"
    )

    @field_validator("walltime", mode="before")
    @classmethod
    def _toml_reads_a_time(cls, walltime: Any) -> Any:
        return walltime.isoformat() if isinstance(walltime, time) else walltime

    @field_validator("walltime")
    @classmethod
    def _walltime_leaves_time_to_work(cls, walltime: str) -> str:
        if not _WALLTIME.match(walltime):
            raise ValueError("write it as hours:minutes:seconds or days-hours:minutes:seconds")
        if _seconds(walltime) < 600:
            raise ValueError("a job needs at least 00:10:00 to start, work and leave in good order")
        return walltime

    @property
    def walltime_s(self) -> int:
        """The walltime in seconds."""
        return _seconds(self.walltime)


class KubernetesSettings(Section):
    """Pods of the dask operator, of kind ``kubernetes``."""

    image: str | None = Field(None, description="with this package, of this version")
    namespace: str | None = Field(None, description="None: that of the current context")
    name: str = Field("ki67", pattern=r"^[a-z]([-a-z0-9]{0,46}[a-z0-9])?$")
    cpu: str = Field("1", description="of a worker's pod")
    memory: str = Field("4Gi", pattern=r"^\d+(\.\d+)?[KMGT]i$", description="of a worker's pod")
    env: dict[str, str] = Field(default_factory=dict, description="environment of every pod")
    pod: dict[str, Any] = Field(
        default_factory=dict, description="laid over the pod specification: volumes, tolerations"
    )
    container: dict[str, Any] = Field(
        default_factory=dict, description="laid over the container: volumeMounts, securityContext"
    )
    plain_network: bool = Field(
        False, description="pods talk without TLS; true when a NetworkPolicy keeps others out"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="more keywords of dask_kubernetes.operator.KubeCluster"
    )


class ClusterSettings(Section):
    """Where tasks run."""

    kind: Literal["auto", "local", "address", "slurm", "kubernetes", "factory"] = Field(
        "auto", description="auto: address with a scheduler, else local"
    )
    workers: int | None = Field(
        None, gt=0, description="processes, jobs or pods; None: as many as this machine carries"
    )
    threads: int = Field(1, gt=0, description="of the network in each worker")
    gpus: int | None = Field(None, gt=0, description="devices used; None: all, or one a job")
    workers_per_gpu: int = Field(1, gt=0, description="that share a device of this machine")
    scheduler: str | None = Field(None, description="address or scheduler file of a cluster")
    factory: str = Field("", description="of kind factory: module:callable")
    factory_options: dict[str, Any] = Field(
        default_factory=dict, description="keywords that the factory is called with"
    )
    tls_ca: str | None = Field(None, description="certificate of the authority")
    tls_cert: str | None = Field(None, description="own certificate")
    tls_key: str | None = Field(None, description="own key")
    preload: tuple[str, ...] = Field((), description="modules or files every worker loads first")
    dashboard: bool = True
    window_per_worker: int = Field(
        8, gt=0, description="most regions sent ahead; two where they take seconds"
    )
    allowed_failures: int = Field(
        3, ge=0, description="workers killed from outside that a task may lose and be tried again"
    )
    retries: int = Field(2, ge=0, description="of a task after a crash or a transient fault")
    worker_wait_s: float = Field(300.0, gt=0, description="for the first worker, or another one")
    task_timeout_s: float = Field(1800.0, gt=0, description="a task that takes longer hangs")
    grace_s: float = Field(30.0, ge=0, description="for tasks under way when the run is stopped")
    slurm: SlurmSettings = SlurmSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()

    @property
    def chosen(self) -> ClusterKind:
        """The kind, with ``auto`` decided."""
        if self.kind != "auto":
            return self.kind
        return "local" if self.scheduler is None else "address"

    @model_validator(mode="after")
    def _each_kind_has_what_it_needs(self) -> Self:
        if self.kind == "address" and not self.scheduler:
            raise ValueError("kind=address needs scheduler, an address or a scheduler file")
        if self.scheduler and self.chosen != "address":
            raise ValueError(f"scheduler={self.scheduler} belongs to kind=address, not {self.kind}")
        if bool(self.factory) != (self.kind == "factory"):
            raise ValueError("kind=factory and factory=module:callable belong together")
        if self.factory and not re.fullmatch(r"[\w.]+:[\w.]+", self.factory):
            raise ValueError(f"factory={self.factory} must be written as module:callable")
        if self.kind in ("slurm", "kubernetes") and self.workers is None:
            raise ValueError(f"kind={self.kind} needs workers, how many are asked for")
        if self.kind == "kubernetes" and not self.kubernetes.image:
            raise ValueError("kind=kubernetes needs kubernetes.image, a container with ki67")
        return self

    @model_validator(mode="after")
    def _certificates_come_together(self) -> Self:
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not all(files):
            raise ValueError("tls_ca, tls_cert and tls_key belong together")
        return self


def _seconds(walltime: str) -> int:
    found = _WALLTIME.match(walltime)
    if found is None:
        return 0
    days, hours, minutes, seconds = (int(found[name] or 0) for name in ("days", "h", "m", "s"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
