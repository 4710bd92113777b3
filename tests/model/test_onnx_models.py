"""Bring your own network: an ONNX file with a card runs, and each thing wrong with one is said."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

from pipeline.cli.models import models
from pipeline.errors import ModelError
from pipeline.model.card import load_card
from pipeline.model.checkpoint import load_checkpoint
from pipeline.model.predictor import Predictor, get_predictor, predictor_spec

Side = int | str
CARD: dict[str, Any] = {
    "name": "own",
    "mpp_um": 0.25,
    "threshold": 0.3,
    "floor": 0.2,
    "halo_px": 32,
    "population": "edges of a test",
    "caveat": "of no use",
    "sources": [],
    "licence": "MIT",
    "created": "2026-01-01",
}
KERNEL = np.random.default_rng(4).normal(0, 1 / 400, (2, 3, 3, 3)).astype(np.float32)
MakeModel = Callable[..., Path]


def network(
    shape: tuple[Side, ...] = ("n", 3, "h", "w"), *, kind: int = TensorProto.FLOAT, inputs: int = 1
) -> bytes:
    """One convolution of 3 x 3, after a cast where pixels come in as bytes."""
    taken = [helper.make_tensor_value_info(f"x{i}", kind, list(shape)) for i in range(inputs)]
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "h", "w"])
    nodes = [
        helper.make_node("Cast", ["x0"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "k"], ["y"], pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "own", taken, [given], initializer=[numpy_helper.from_array(KERNEL, "k")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    def write(payload: bytes | None = None, **changes: Any) -> Path:
        payload = network() if payload is None else payload
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        (folder / "network.onnx").write_bytes(payload)
        digest = hashlib.sha256(payload).hexdigest()
        card = CARD | {"weights_sha256": digest} | changes
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def tiles() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 96, 64, 3), dtype=np.uint8)


def convolved(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the network is, by scipy."""
    planes = tile.transpose(2, 0, 1).astype(np.float64)
    return np.stack(
        [
            sum(
                ndimage.correlate(plane, kernel.astype(np.float64), mode="constant")
                for plane, kernel in zip(planes, kernels, strict=True)
            )
            for kernels in KERNEL
        ]
    )


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
def test_an_onnx_network_gives_its_heatmap(
    make_model: MakeModel, tiles: NDArray[np.uint8], kind: int
) -> None:
    folder = make_model(network(kind=kind))
    predictor = get_predictor(predictor_spec(folder))
    found = predictor.predict(tiles)
    for tile, heatmap in zip(tiles, found, strict=True):
        assert np.abs(heatmap - convolved(tile)).max() < 1e-5
    cropped = list(predictor.heatmaps(tiles, margin=32))
    assert np.array_equal(np.stack(cropped), found[:, :, 32:-32, 32:-32])


def test_bits_depend_on_the_tile_alone_and_not_on_threads(
    make_model: MakeModel, tiles: NDArray[np.uint8]
) -> None:
    folder = make_model()
    together = Predictor(predictor_spec(folder)).predict(tiles)
    two = Predictor(predictor_spec(folder, threads=2))
    assert np.array_equal(two.predict(tiles[1:2])[0], together[1])
    assert np.array_equal(two.predict(tiles[::-1])[::-1], together)


@pytest.mark.parametrize(
    ("payload", "changes", "message"),
    [
        (b"no network", {}, "no ONNX network"),
        (network(("n", 1, "h", "w")), {}, r"input is \(n, 1, h, w\); it must take \(N, 3"),
        (network(inputs=2), {}, "2 inputs and 1 outputs"),
        (network(kind=TensorProto.INT32), {}, r"tensor\(int32\); float32 and uint8 are taken"),
        (None, {"channels": ["cell"]}, "the card's 1 channels need"),
        (None, {"weights_sha256": "0" * 64}, "is not the card's 000000000000; fetch"),
    ],
)
def test_a_network_of_another_kind_is_refused_in_one_line(
    make_model: MakeModel, payload: bytes | None, changes: dict[str, Any], message: str
) -> None:
    folder = make_model(payload, **changes)
    with pytest.raises(ModelError, match=message) as refusal:
        Predictor(predictor_spec(folder))
    assert "\n" not in str(refusal.value)


def test_sides_that_are_fixed_must_be_those_of_the_tiles(
    make_model: MakeModel, tiles: NDArray[np.uint8]
) -> None:
    predictor = Predictor(predictor_spec(make_model(network((1, 3, 64, 64)))))
    with pytest.raises(ModelError, match="takes 1 x 3 x 64 x 64 only, and tiles of 64 x 96 px"):
        predictor.predict(tiles)
    assert predictor.predict(tiles[:, :64]).shape == (3, 2, 64, 64)


def test_engines_run_their_own_kind_only(make_model: MakeModel) -> None:
    card = load_card(make_model())
    assert card.engine() == card.engine("onnxruntime") == "onnxruntime"
    with pytest.raises(ModelError, match="own is an ONNX file; use onnxruntime"):
        card.engine("torch")


def test_torch_refuses_an_onnx_network(make_model: MakeModel) -> None:
    with pytest.raises(ModelError, match="an ONNX network"):
        load_checkpoint(make_model())


def test_a_folder_without_the_network_names_the_file(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / "network.onnx").unlink()
    with pytest.raises(ModelError, match=r"network\.onnx: cannot read"):
        Predictor(predictor_spec(folder))


def test_the_models_command_shows_an_onnx_network(make_model: MakeModel) -> None:
    folder = str(make_model())
    shown = CliRunner().invoke(models, [folder])
    assert shown.exit_code == 0, shown.output
    assert "an ONNX file, by ONNX Runtime" in shown.output
    (card,) = json.loads(CliRunner().invoke(models, [folder, "--json"]).output)
    assert (card["spec"], card["parameters"]) == (None, None)
