"""Laws of prediction: bits depend on the tile alone; models are found by name or folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pipeline.cli.models import models
from pipeline.errors import ModelError
from pipeline.model.card import ModelCard
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.predictor import Predictor, PredictorSpec, get_predictor, predictor_spec
from pipeline.model.registry import build_network, network_spec
from pipeline.model.zoo import list_models, models_folder, resolve_model, shipped_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    network = build_network(network_spec("m_hrnet_tiny"))
    card = ModelCard(
        name="tiny",
        spec=network.spec,
        mpp_um=0.5,
        threshold=0.3,
        floor=0.1,
        halo_px=64,
        population="nuclei of a test",
        caveat="untrained",
        sources=(),
        licence="MIT",
        created="2026-01-01",
    )
    with torch.no_grad():
        for _ in range(10):
            network(torch.randint(0, 256, (4, 3, 64, 64)))
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(path, network, card)
    return path


@pytest.fixture
def tiles() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (5, 96, 64, 3), dtype=np.uint8)


def test_a_tile_has_the_same_heatmap_alone_and_in_company(
    folder: Path, tiles: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    predictor = get_predictor(predictor_spec(folder))
    together = predictor.predict(tiles)
    assert together.shape == (5, 2, 96, 64)
    assert together.dtype == np.float32
    for index in (0, 3, 4):
        alone = predictor.predict(tiles[index : index + 1])
        assert np.array_equal(alone[0], together[index])
    assert np.array_equal(predictor.predict(tiles[::-1])[::-1], together)


def test_prediction_is_the_network_s_forward(
    folder: Path, tiles: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    network, _ = load_checkpoint(folder)
    with torch.no_grad():
        wanted = network(torch.from_numpy(tiles).permute(0, 3, 1, 2)).numpy()
    found = Predictor(predictor_spec(folder)).predict(tiles)
    assert np.abs(found - wanted).max() < 1e-5 * max(1.0, float(np.abs(wanted).max()))


def test_bfloat16_is_near_float32_and_its_peaks_are_not_rounded(
    folder: Path, tiles: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    full = predictor_spec(folder)
    wanted = Predictor(full).predict(tiles)
    found = Predictor(replace(full, dtype="bfloat16")).predict(tiles)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    # the last layer is float32: its values have more digits than bfloat16 holds
    rounded = torch.from_numpy(found).bfloat16().float().numpy()
    assert np.count_nonzero(found != rounded) > 0.9 * found.size


def test_float16_on_a_cpu_is_refused_with_what_there_is(folder: Path) -> None:
    with pytest.raises(ModelError, match="on a cpu use float32 or bfloat16"):
        replace(predictor_spec(folder), dtype="float16")


def test_no_tiles_give_no_heatmaps(folder: Path) -> None:
    empty = np.empty((0, 64, 64, 3), dtype=np.uint8)
    assert get_predictor(predictor_spec(folder)).predict(empty).shape == (0, 2, 64, 64)


def test_a_predictor_is_loaded_once_per_specification(folder: Path) -> None:
    spec = predictor_spec(folder)
    assert get_predictor(spec) is get_predictor(predictor_spec(folder))


def test_changed_weights_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="changed during the run"):
        Predictor(PredictorSpec(str(folder), "0" * 64))


@pytest.mark.parametrize(
    "options", [{"engine": "magic"}, {"threads": 0}, {"device": "tpu"}, {"device": "cuda:x"}]
)
def test_impossible_specifications_are_refused(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"engine|threads|device"):
        PredictorSpec(str(folder), "0" * 64, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="use device=cpu"):
        Predictor(predictor_spec(folder, device="cuda:0"))


@pytest.mark.parametrize(
    "tiles",
    [
        np.zeros((1, 64, 64, 3), dtype=np.float32),
        np.zeros((64, 64, 3), dtype=np.uint8),
        np.zeros((1, 3, 64, 64), dtype=np.uint8),
        np.zeros((1, 50, 64, 3), dtype=np.uint8),
    ],
)
def test_tiles_of_another_kind_are_refused(folder: Path, tiles: Any) -> None:
    with pytest.raises(ModelError, match=r"give uint8|multiples of 32"):
        get_predictor(predictor_spec(folder)).predict(tiles)


def test_a_heatmap_that_is_not_finite_is_refused(folder: Path, tmp_path: Path) -> None:
    network, card = load_checkpoint(folder)
    with torch.no_grad():
        network.head.finish.weight.fill_(3e38)
    save_checkpoint(tmp_path / "wild", network, card)
    tiles = np.full((1, 64, 64, 3), 90, dtype=np.uint8)
    with pytest.raises(ModelError, match="not finite"):
        Predictor(predictor_spec(tmp_path / "wild")).predict(tiles)


def test_a_model_is_found_by_folder_and_a_wrong_one_is_named(folder: Path, tmp_path: Path) -> None:
    assert resolve_model(folder) == folder.resolve()
    for wrong in (tmp_path / "absent", tmp_path):
        with pytest.raises(ModelError, match="model"):
            resolve_model(wrong)


def test_shipped_models_are_found_by_name_and_load() -> None:
    assert [card.name for card in list_models()] == shipped_names()
    for name in shipped_names():
        assert resolve_model(name) == models_folder() / name
        load_checkpoint(resolve_model(name))


def test_the_default_is_a_shipped_model_or_its_absence_is_explained() -> None:
    if (models_folder() / "DEFAULT").exists():
        assert resolve_model("default").name in shipped_names()
    else:
        with pytest.raises(ModelError, match="name a model folder"):
            resolve_model("default")


def test_the_models_command_describes_a_model(folder: Path) -> None:
    text = CliRunner().invoke(models, [str(folder)])
    assert text.exit_code == 0, text.output
    assert "0.07 M parameters" in text.output
    assert "nuclei of a test" in text.output
    cards = json.loads(CliRunner().invoke(models, [str(folder), "--json"]).output)
    assert cards[0]["threshold"] == 0.3
    assert cards[0]["parameters"] == 65_066


def test_the_models_command_says_what_cross_validation_measured(
    folder: Path, tmp_path: Path
) -> None:
    network, card = load_checkpoint(folder)
    means = {"f1_all": 81.24, "f1_positive": 80.0, "f1_negative": None}
    figures = {name: {"mean": mean, "sd": None} for name, mean in means.items()}
    row = {"group": "three folds", "fields": "bcdata", "at_3.125_um": figures}
    told = {"cross_validation": {"experiment": "cross", "command": "ki67 again", "rows": [row]}}
    save_checkpoint(tmp_path / "told", network, card.model_copy(update={"metrics": told}))
    text = CliRunner().invoke(models, [str(tmp_path / "told")])
    assert "bcdata, each fold at its own threshold: F1 81.2 / 80.0 / - % (all / p" in text.output
    assert "again by    ki67 again" in text.output


def test_the_models_command_lists_what_ships() -> None:
    result = CliRunner().invoke(models, ["--json"])
    assert result.exit_code == 0, result.output
    assert [card["name"] for card in json.loads(result.output)] == shipped_names()


# of the second shape oneDNN shares a band of rows among threads in another way
@pytest.mark.parametrize("shape", [(320, 320), (1152, 1408)])
def test_the_number_of_threads_changes_no_bit_of_the_shipped_model(shape: tuple[int, int]) -> None:
    folder = resolve_model("default")
    tile = np.random.default_rng(3).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    one, two = (
        get_predictor(predictor_spec(folder, threads=threads)).predict(tile) for threads in (1, 2)
    )
    assert np.array_equal(one, two)
