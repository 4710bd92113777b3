"""What SLURM and Kubernetes are asked for, written by their own libraries; and a factory."""

import gc
import stat
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from pipeline.config import ClusterSettings, load_config
from pipeline.errors import ConfigError
from pipeline.run.clusters import connect
from pipeline.run.clusters.extras import library
from pipeline.run.clusters.kubernetes import cluster_spec, plain_group, worker_group
from pipeline.run.clusters.slurm import (
    job_options,
    plain_job_options,
    remove_keys,
    slurm_cluster,
)
from tests.processes import PATIENCE_S

SLURM = (
    "cluster.kind=slurm",
    "cluster.workers=2",
    "cluster.dashboard=false",
    "cluster.slurm.queue=gpu",
    "cluster.slurm.account=pathology",
    "cluster.slurm.cores=4",
    "cluster.slurm.memory=16GB",
    "cluster.slurm.walltime=02:00:00",
    "cluster.slurm.directives=['--qos=long']",
    "cluster.slurm.prologue=['module load cuda']",
    "cluster.preload=['site_setup']",
)
KUBERNETES = (
    "cluster.kind=kubernetes",
    "cluster.workers=3",
    "cluster.kubernetes.image=registry.example/ki67:1",
    "cluster.kubernetes.namespace=pathology",
)
VOLUME = {"name": "archive", "persistentVolumeClaim": {"claimName": "archive"}}
MOUNT = {"name": "archive", "mountPath": "/archive"}


def settings(*pairs: str) -> ClusterSettings:
    return load_config(None, list(pairs)).cluster


def script(device: str, tmp_path: Path, *more: str) -> str:
    chosen = settings(*SLURM, f"cluster.slurm.shared={tmp_path}", *more)
    with slurm_cluster(chosen, Security.temporary(), device=device) as cluster:
        text: str = cluster.job_script()
        remove_keys(cluster)
        return text


def test_a_slurm_job_is_one_thread_that_leaves_before_its_walltime(tmp_path: Path) -> None:
    text = script("cpu", tmp_path)
    lines = text.splitlines()
    for directive in ("-p gpu", "-A pathology", "--cpus-per-task=4", "-t 02:00:00", "--qos=long"):
        assert f"#SBATCH {directive}" in lines
    assert any(line.startswith("#SBATCH --mem=1") for line in lines)
    worker = next(line for line in lines if "distributed.cli.dask_worker" in line)
    assert "tls://" in worker or "<insert-scheduler-address-here>" in worker
    for flag in ("--nthreads 1", "--no-dashboard", "--preload site_setup", "--tls-ca-file"):
        assert flag in worker
    assert "--lifetime 6480s --lifetime-stagger 360s" in worker
    assert 6480 + 360 < 2 * 3600, "the last one leaves while the job still runs"
    assert "GPU" not in worker
    exports = lines.index("export OMP_NUM_THREADS=1")
    assert exports < lines.index("module load cuda") < lines.index(worker)
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False" in lines


def test_a_slurm_job_of_a_device_pool_declares_its_device_and_the_plain_one_none(
    tmp_path: Path,
) -> None:
    text = script("cuda", tmp_path)
    assert "#SBATCH --gres=gpu:1" in text
    assert "--resources GPU=1" in text
    own = script("cuda", tmp_path, "cluster.slurm.directives=['--gpus=a100:1']")
    assert "--gres" not in own
    plain = plain_job_options(job_options(settings(*SLURM), device="cuda"))
    assert "CPU=1" in plain["worker_extra_args"]
    assert "GPU=1" not in plain["worker_extra_args"]
    assert plain["job_extra_directives"] == ["--qos=long"]


def test_what_dask_jobqueue_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.slurm: .*colour") as caught:
        script("cpu", tmp_path, "cluster.slurm.options={colour = 'red'}")
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"no_such_library is not installed; pip install .*slurm"):
        library("no_such_library", "slurm")


@pytest.mark.slow
def test_jobs_that_sbatch_starts_work_and_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sbatch`` and ``scancel`` of this test run the real job script on this machine, over TLS."""
    for name, body in {
        "sbatch": 'setsid bash "$1" >"$JOBS/out.$$" 2>&1 & echo "Submitted batch job $!"; cp "$1" '
        '"$JOBS/job.$$"; sleep 1',
        "scancel": 'echo "$1" >>"$JOBS/cancelled"; kill -- "-$1"',
    }.items():
        command = tmp_path / name
        command.write_text(f"#!/bin/bash\n{body}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JOBS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    chosen = settings(
        *(pair for pair in SLURM if "preload" not in pair and "module load" not in pair),
        f"cluster.slurm.shared={tmp_path}",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a killed job leaves transports open
        with connect(chosen) as client:
            assert scheduler_of(client).startswith("tls://")
            client.wait_for_workers(2, timeout=PATIENCE_S)
            keys = list(tmp_path.glob(".dask-jobqueue*"))
            assert keys
            assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
            assert set(client.nthreads().values()) == {1}
            assert client.submit(sum, [1, 2]).result(timeout=PATIENCE_S) == 3
        gc.collect()  # here, or a later test is blamed for them
    assert not list(tmp_path.glob(".dask-jobqueue*"))
    assert len((tmp_path / "cancelled").read_text().split()) == 2


def test_a_kubernetes_cluster_is_made_of_single_threaded_workers_with_its_volumes() -> None:
    chosen = settings(
        *KUBERNETES,
        f"cluster.kubernetes.pod={_toml({'volumes': [VOLUME]})}",
        f"cluster.kubernetes.container={_toml({'volumeMounts': [MOUNT]})}",
        "cluster.kubernetes.env={SITE = 'north'}",
    )
    spec = cluster_spec(chosen, device="cpu")
    assert spec["kind"] == "DaskCluster"
    assert spec["metadata"] == {"name": "ki67", "namespace": "pathology"}
    assert spec["spec"]["worker"]["replicas"] == 3
    for part in ("scheduler", "worker"):
        pod = spec["spec"][part]["spec"]
        (container,) = pod["containers"]
        assert pod["volumes"] == [VOLUME]
        assert container["volumeMounts"] == [MOUNT]
        assert container["image"] == "registry.example/ki67:1"
        assert {"name": "SITE", "value": "north"} in container["env"]
    worker = spec["spec"]["worker"]["spec"]["containers"][0]
    assert worker["command"] == ["dask"]
    assert worker["args"][:5] == ["worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1"]
    assert worker["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
    ports = spec["spec"]["scheduler"]["spec"]["containers"][0]["ports"]
    assert {port["name"] for port in ports} == {"tcp-comm", "http-dashboard"}


def test_pods_with_a_device_ask_for_it_and_the_group_without_does_not() -> None:
    chosen = settings(*KUBERNETES)
    container = worker_group(chosen, device="cuda")["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["args"][-2:] == ["--resources", "GPU=1"]
    group = plain_group(chosen)
    assert group["replicas"] == 1
    plain = group["spec"]["containers"][0]
    assert plain["args"][-2:] == ["--resources", "CPU=1"]
    assert "nvidia.com/gpu" not in plain["resources"]["limits"]


def test_pods_without_tls_need_the_users_word() -> None:
    with pytest.raises(ConfigError, match="talk without TLS"), connect(settings(*KUBERNETES)):
        pass


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("cluster.kind=slurm",), "kind=slurm needs workers"),
        (("cluster.kind=kubernetes", "cluster.workers=1"), "needs kubernetes.image"),
        (("cluster.kind=address",), "needs scheduler"),
        (("cluster.kind=local", "cluster.scheduler=127.0.0.1:1"), "belongs to kind=address"),
        (("cluster.factory=module:make",), "belong together"),
        (("cluster.kind=factory", "cluster.factory=module"), "must be written as module:callable"),
        (("cluster.slurm.walltime=4h",), "write it as hours:minutes:seconds"),
        (("cluster.slurm.walltime=0-00:01:00",), "at least 00:10:00"),
        (("cluster.tls_ca=ca.pem",), "belong together"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    pairs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(*pairs)


def scheduler_of(client: Client) -> str:
    return str(client.scheduler_info(n_workers=0)["address"])


def in_process(**keywords: Any) -> LocalCluster:
    return LocalCluster(processes=False, dashboard_address="127.0.0.1:0", **keywords)


def no_cluster() -> int:
    return 7


def broken() -> None:
    raise RuntimeError("no more\nquota")


def made_by(name: str, options: str = "{}") -> ClusterSettings:
    return settings(
        "cluster.kind=factory",
        f"cluster.factory={__name__}:{name}",
        f"cluster.factory_options={options}",
    )


def test_a_factory_is_called_with_its_options_and_its_cluster_is_closed() -> None:
    options = "{n_workers = 2, threads_per_worker = 1}"
    with connect(made_by("in_process", options)) as client:
        assert len(client.nthreads()) == 2
        cluster = client.cluster
    assert cluster is not None
    assert cluster.status.name == "closed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_cluster", "returned int; return a dask cluster or a client"),
        ("broken", "RuntimeError: no more quota"),
        ("nothing", "no attribute 'nothing'"),
        ("SLURM", "is no function"),
    ],
)
def test_a_factory_that_gives_no_cluster_is_one_line(name: str, message: str) -> None:
    assert __name__ in sys.modules
    with pytest.raises(ConfigError, match=message), connect(made_by(name)):
        pass


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"'
