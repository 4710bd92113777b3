"""Links among results lead nowhere: nothing behind them is written or removed."""

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.errors import OutputError
from pipeline.io.files import refuse_link
from pipeline.io.staging import settle_all
from pipeline.model.card import load_card
from pipeline.run.job import SlideJob
from pipeline.run.prepare import prepare_slide
from tests.run.small_slides import stained_tissue, write_slide
from tests.run.tiny_network import save_tiny_network


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> SlideJob:
    folder = tmp_path_factory.mktemp("links")
    model = save_tiny_network(folder / "tiny")
    slide = write_slide(folder / "one.tif", stained_tissue(1, width=600, height=500))
    return SlideJob(
        slide_id="one-00000000",
        path=str(slide),
        name=slide.name,
        out=str(folder / "out"),
        config=load_config(None, ["prediction.tile_core_px=128"]),
        model_folder=str(model),
        weights_sha256=load_card(model).weights_sha256,
        run_id="test",
    )


def treasure(folder: Path) -> dict[str, bytes]:
    (folder / "inner").mkdir(parents=True)
    for name in ("done.json", "score.json", "letter.txt", "inner/kept.txt"):
        (folder / name).write_text(name)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["", ".work", "heatmap.ome.zarr", "basis", ".scored"])
def test_a_link_in_a_slides_place_is_refused_and_what_is_behind_it_stays(
    tmp_path: Path, job: SlideJob, name: str
) -> None:
    from dataclasses import replace

    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    before = treasure(elsewhere)
    planted = out / "slides" / job.slide_id / name if name else out / "slides" / job.slide_id
    planted.parent.mkdir(parents=True)
    planted.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(OutputError, match="is a link to another place"):
        prepare_slide(replace(job, out=str(out)))
    assert contents(elsewhere) == before
    assert planted.is_symlink()


def test_a_run_begins_by_refusing_linked_slides(tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    (elsewhere / ".scored").mkdir(parents=True)
    (elsewhere / ".scored" / "score.json").write_text("{}")
    (out / "slides").mkdir(parents=True)
    (out / "slides" / "one-00000000").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(OutputError, match="slides/one-00000000: is a link"):
        settle_all(out)
    assert contents(elsewhere) == {".scored/score.json": b"{}"}


def test_an_output_folder_that_is_a_link_itself_is_the_users_choice(
    tmp_path: Path, job: SlideJob
) -> None:
    from dataclasses import replace

    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert prepare_slide(replace(job, out=str(tmp_path / "out")))["state"] == "planned"
    refuse_link(tmp_path / "disk")
