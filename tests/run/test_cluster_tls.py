"""TLS between driver, scheduler and workers, with certificates made here."""

import json
from pathlib import Path

import pytest

from pipeline.config import ClusterSettings
from pipeline.errors import ConfigError
from pipeline.run.archive import run_archive
from pipeline.run.clusters import connect
from pipeline.run.clusters.address import scheduler_address
from pipeline.run.clusters.tls import security
from tests.processes import PATIENCE_S
from tests.run.command_cluster import certificates, command_cluster
from tests.run.conftest import Configure
from tests.run.small_slides import result_bytes


def test_a_tls_cluster_takes_its_own_clients_and_refuses_those_of_another_authority(
    tmp_path: Path, slides: Path, configure: Configure, reference: Path
) -> None:
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    flags = [
        word
        for flag, name in (("ca-file", "tls_ca"), ("cert", "tls_cert"), ("key", "tls_key"))
        for word in (f"--tls-{flag}", ours[name])
    ]
    with command_cluster(tmp_path / "cluster", flags, workers=1) as cluster:
        address = scheduler_address(str(cluster.file))
        assert address.startswith("tls://127.0.0.1:")
        with connect(ClusterSettings(scheduler=address, **ours)) as client:
            client.wait_for_workers(1, timeout=PATIENCE_S)
            assert all(name.startswith("tls://") for name in client.nthreads())
            assert client.submit(sum, [1, 2]).result(timeout=PATIENCE_S) == 3
        pairs = {"scheduler": address, **ours}
        config = configure(
            *(f"cluster.{name}={json.dumps(value)}" for name, value in pairs.items())
        )
        out = tmp_path / "out"
        assert run_archive([slides / "second.tif"], out, config).exit_code == 0
        assert result_bytes(out) == result_bytes(reference, "second-")
        with (
            pytest.raises(ConfigError, match=r"TLS was refused \(.+\); certificate") as caught,
            connect(ClusterSettings(scheduler=address, **others)),
        ):
            pass
        assert "\n" not in str(caught.value)
        with (
            pytest.raises(ConfigError, match=r"TLS needs cluster\.tls_ca"),
            connect(ClusterSettings(scheduler=address)),
        ):
            pass
        plain = ClusterSettings(scheduler=address.replace("tls", "tcp"), **ours)
        with pytest.raises(ConfigError, match="use its tls:// address"), connect(plain):
            pass


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    with pytest.raises(ConfigError, match=r"cluster\.tls_ca=/nowhere\.pem: no such file"):
        security(ClusterSettings(**ours | {"tls_ca": "/nowhere.pem"}))
    with pytest.raises(ConfigError, match="and its key in PEM form"):
        security(ClusterSettings(**ours | {"tls_key": others["tls_key"]}))
    assert security(ClusterSettings()) is None


def test_dasks_own_tls_settings_are_used_when_ours_say_nothing(tmp_path: Path) -> None:
    import dask

    ours = certificates(tmp_path / "ours")
    with dask.config.set({"distributed.comm.tls.ca-file": ours["tls_ca"]}):
        keys = security(ClusterSettings())
    assert keys is not None
    assert keys.get_tls_config_for_role("client")["ca_file"] == ours["tls_ca"]
