"""Small slides, a tiny network with real peaks, and one cluster that the tests share."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ClusterSettings, RunConfig, load_config
from pipeline.run.archive import run_archive
from pipeline.run.clusters import connect
from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network

Configure = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights, in a checkpoint."""
    return save_tiny_network(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two good slides."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "first.tif", stained_tissue(1))
    write_slide(folder / "second.tif", stained_tissue(2, width=1300, height=1100))
    return folder


@pytest.fixture(scope="session")
def configure(tiny_model: Path) -> Configure:
    """Settings for the small slides; arguments are more ``section.key=value`` pairs."""

    def settings(*pairs: str) -> RunConfig:
        ours = (
            f"prediction.model={json.dumps(str(tiny_model))}",
            "prediction.tile_core_px=128",
            "prediction.region_tiles=2",
            "tissue.margin_um=20",
            "score.min_cells=10",
            "inputs.settle_s=0",
            "cluster.dashboard=false",
            "cluster.workers=2",
        )
        return load_config(None, [*ours, *pairs])

    return settings


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """Address of a cluster of two workers."""
    with connect(ClusterSettings(workers=2, dashboard=False)) as client:
        yield f"cluster.scheduler={client.scheduler_info(n_workers=0)['address']}"


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, slides: Path, configure: Configure, scheduler: str
) -> Path:
    """Results of an undisturbed run on two workers."""
    out = tmp_path_factory.mktemp("reference")
    summary = run_archive([slides], out, configure(scheduler))
    assert [record.outcome for record in summary.records] == ["scored", "scored"]
    return out


@pytest.fixture(scope="session")
def scored_batch(
    tmp_path_factory: pytest.TempPathFactory, slides: Path, configure: Configure, scheduler: str
) -> Path:
    """Two scored slides, one failed one and one that is not finished."""
    out = tmp_path_factory.mktemp("batch") / "out"
    broken = tmp_path_factory.mktemp("broken") / "broken.tif"
    broken.write_bytes(b"II*\x00 no slide")
    run_archive([slides, broken], out, configure(scheduler))
    (out / "slides" / "third-00000000" / ".work").mkdir(parents=True)
    return out


@pytest.fixture
def out(tmp_path: Path, scored_batch: Path) -> Path:
    """A copy to score again."""
    return Path(shutil.copytree(scored_batch, tmp_path / "out"))


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A store behind a server of our own; the environment leads to it."""
    from tests.io.remote_servers import s3_server  # its libraries take seconds: only where asked

    with s3_server() as store:
        yield store


@pytest.fixture(scope="module")
def s3_cluster(s3: Any) -> Iterator[str]:  # made first: workers keep its environment
    """Setting of two workers whose environment leads to the store."""
    with connect(ClusterSettings(workers=2, dashboard=False)) as client:
        yield f"cluster.scheduler={client.scheduler_info(n_workers=0)['address']}"
