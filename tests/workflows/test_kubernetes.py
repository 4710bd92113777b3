"""The Kubernetes manifests render, fit the schemas, and ask for no more than they need."""

import os
import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

from pipeline.cli.run import run
from pipeline.config import ClusterSettings
from pipeline.run.clusters import connect
from tests.processes import PATIENCE_S, start
from tests.run.command_cluster import BIN, certificates
from tests.workflows.operations import ROOT, WORKFLOWS

KUBERNETES = WORKFLOWS / "kubernetes"
SCHEMA_VERSION = "1.32"
"""podFailurePolicy is stable since 1.31."""

Manifest = dict[str, Any]


def rendered(name: str) -> list[Manifest]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Pod specifications by the name of what makes them."""
    found = {}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[manifest["metadata"]["name"]] = spec["template"]["spec"]
    return found


@pytest.mark.parametrize("name", ["base", "cluster"])
def test_every_manifest_fits_the_schema_of_its_kind(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    manifests = rendered(name)
    for manifest in manifests:
        validate.validate(manifest, SCHEMA_VERSION, strict=True)
    manifests[-1]["spec"]["podSelecter"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(manifests[-1], SCHEMA_VERSION, strict=True)


@pytest.mark.parametrize(("name", "count"), [("base", 1), ("cluster", 3)])
def test_every_pod_is_held_as_short_as_the_restricted_profile_wants(name: str, count: int) -> None:
    found = pods(rendered(name))
    assert len(found) == count
    for pod in found.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["terminationGracePeriodSeconds"] > 2 * ClusterSettings().grace_s
        [container] = pod["containers"]
        held = container["securityContext"]
        assert held["readOnlyRootFilesystem"] is True
        assert held["allowPrivilegeEscalation"] is False
        assert held["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert container["image"].startswith("registry.example/ki67:")


@pytest.mark.parametrize("name", ["base", "cluster"])
def test_nights_never_overlap_and_only_what_can_go_on_is_tried_again(name: str) -> None:
    [night] = [one for one in rendered(name) if one["kind"] == "CronJob"]
    assert night["spec"]["concurrencyPolicy"] == "Forbid"
    rules = night["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    actions = {
        code: rule["action"]
        for rule in rules
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {1: "FailJob", 2: "FailJob", 3: "Count", 75: "Count"}


@pytest.mark.parametrize("name", ["base", "cluster"])
def test_the_driver_calls_the_console_script_with_what_is_mounted(name: str) -> None:
    pod = pods(rendered(name))["ki67-nightly"]
    [container] = pod["containers"]
    word, *arguments = container["args"]
    assert word == "run"
    run.make_context("run", list(arguments))  # raises on an unknown flag
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for path in (word for word in arguments if word.startswith("/")):
        assert any(Path(path).is_relative_to(mount) for mount in mounted), path
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_driver_and_workers_see_slides_results_and_certificates_under_the_same_names() -> None:
    found = pods(rendered("cluster"))
    places = {
        name: {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        for name, pod in found.items()
    }
    shared = ("slides", "results", "tls")
    driver, worker = places["ki67-nightly"], places["ki67-worker"]
    assert [driver[name] for name in shared] == [worker[name] for name in shared]
    assert places["ki67-scheduler"]["tls"] == driver["tls"]


def test_the_scheduler_is_reached_under_the_name_of_its_service() -> None:
    manifests = rendered("cluster")
    [service] = [one for one in manifests if one["kind"] == "Service"]
    port = service["spec"]["ports"][0]["port"]
    address = f"tls://{service['metadata']['name']}:{port}"
    worker = pods(manifests)["ki67-worker"]["containers"][0]["command"]
    assert address in worker
    assert f'scheduler = "{address}"' in (KUBERNETES / "cluster" / "nightly.toml").read_text()


@pytest.mark.slow
def test_scheduler_and_worker_start_with_the_commands_and_settings_as_written(
    tmp_path: Path,
) -> None:
    """With another host and port, and other folders than those that a pod mounts."""
    made = certificates(tmp_path / "tls")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    swaps = {
        "/tls/ca.crt": made["tls_ca"],
        "/tls/tls.crt": made["tls_cert"],
        "/tls/tls.key": made["tls_key"],
        "ki67-scheduler:8786": f"127.0.0.1:{port}",
        "/tmp": str(tmp_path / "tmp"),  # noqa: S108 - what the manifest says
    }

    def here(text: str) -> str:
        return re.sub("|".join(map(re.escape, swaps)), lambda found: swaps[found[0]], text)

    (tmp_path / "tmp").mkdir()
    (tmp_path / "dask").mkdir()
    for name, place in (("dask.yaml", "dask"), ("nightly.toml", ".")):
        text = here((KUBERNETES / "cluster" / name).read_text(encoding="utf-8"))
        (tmp_path / place / name).write_text(text, encoding="utf-8")
    for name in ("scheduler", "workers"):
        manifests = (KUBERNETES / "cluster" / f"{name}.yaml").read_text(encoding="utf-8")
        [pod] = pods(list(yaml.safe_load_all(manifests))).values()
        program, *words = pod["containers"][0]["command"]
        words = [port if word == "8786" else here(word) for word in words]
        start(
            [BIN / program, *words, "--host", "127.0.0.1"],
            cwd=tmp_path / "tmp",
            env=os.environ | {"DASK_CONFIG": str(tmp_path / "dask"), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    settings = tomllib.loads((tmp_path / "nightly.toml").read_text(encoding="utf-8"))
    with connect(ClusterSettings(**settings["cluster"])) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        [address] = client.nthreads()
        assert address.startswith("tls://")
        total = client.submit(sum, [1, 2], resources={"GPU": 1})
        assert total.result(timeout=PATIENCE_S) == 3
        spill = client.submit(dask.config.get, "distributed.worker.memory.spill")
        assert spill.result(timeout=PATIENCE_S) is False


def test_the_image_is_built_from_pinned_packages_and_no_named_index() -> None:
    text = (WORKFLOWS / "container" / "Containerfile").read_text(encoding="utf-8")
    assert "-c constraints.txt" in text
    assert "index-url" not in text
    copied = re.findall(r"(?m)^COPY (.+) \./\S*$", text)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    [user] = re.findall(r"(?m)^USER (\d+):\1$", text)
    for pod in pods(rendered("cluster")).values():
        assert str(pod["securityContext"]["runAsUser"]) == user
