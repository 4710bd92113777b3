"""Laws of checkpoints: what was saved is loaded, anything else is refused in one clear line."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from pipeline.errors import ModelError
from pipeline.model.card import ModelCard, load_card
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.model.registry import HeatmapNetwork, build_network, network_spec


def card_of(network: HeatmapNetwork, **changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": "tiny",
        "spec": network.spec,
        "mpp_um": 0.5,
        "threshold": 0.3,
        "floor": 0.1,
        "halo_px": 64,
        "population": "nuclei of a test",
        "caveat": "untrained",
        "sources": ({"name": "none", "licence": "CC0", "use": "none"},),
        "licence": "MIT",
        "created": "2026-01-01",
    }
    return ModelCard.model_validate(fields | changes)


@pytest.fixture
def network() -> HeatmapNetwork:
    torch.manual_seed(5)
    return build_network(network_spec("m_hrnet_tiny"))


@pytest.fixture
def folder(tmp_path: Path, network: HeatmapNetwork) -> Path:
    save_checkpoint(tmp_path / "tiny", network, card_of(network))
    return tmp_path / "tiny"


def change_tensors(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """Rewrite the weights with some tensors changed (None: left out) and a card that vouches."""
    path = folder / "weights.safetensors"
    tensors = {k: v for k, v in (load_file(path) | changes).items() if v is not None}
    save_file(tensors, path)
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def test_what_was_saved_is_loaded(folder: Path, network: HeatmapNetwork) -> None:
    loaded, card = load_checkpoint(folder)
    assert card == load_card(folder)
    assert card.model_copy(update={"weights_sha256": ""}) == card_of(network)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert not loaded.training
    assert all(value.requires_grad for value in loaded.parameters())


def test_half_weights_load_as_float32_and_take_half_the_room(
    tmp_path: Path, network: HeatmapNetwork
) -> None:
    save_checkpoint(tmp_path / "half", network, card_of(network), half=True)
    save_checkpoint(tmp_path / "full", network, card_of(network))
    half, full = (tmp_path / n / "weights.safetensors" for n in ("half", "full"))
    assert half.stat().st_size < 0.75 * full.stat().st_size
    loaded, _ = load_checkpoint(tmp_path / "half")
    for name, value in loaded.named_parameters():
        assert value.dtype == torch.float32
        assert torch.allclose(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_saving_again_replaces_and_leaves_nothing_else(
    folder: Path, network: HeatmapNetwork
) -> None:
    first = load_card(folder).weights_sha256
    with torch.no_grad():
        network.head.finish.weight.add_(1.0)
    signed = save_checkpoint(folder, network, card_of(network, name="second"))
    assert signed.weights_sha256 != first
    assert load_checkpoint(folder)[1].name == "second"
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_equal_weights_are_equal_bytes(tmp_path: Path, network: HeatmapNetwork) -> None:
    one, two = (save_checkpoint(tmp_path / n, network, card_of(network)) for n in ("a", "b"))
    assert one.weights_sha256 == two.weights_sha256


def test_tampered_weights_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="sha256"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head.finish.bias": torch.zeros(3)}, "shape"),
        ({"head.finish.bias": None}, "missing"),
        ({"head.extra": torch.zeros(2)}, "unknown"),
        ({"head.finish.bias": torch.tensor([0.0, float("nan")])}, "not finite"),
        ({"head.finish.bias": torch.zeros(2, dtype=torch.int32)}, "type"),
    ],
)
def test_wrong_tensors_are_refused(
    folder: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    change_tensors(folder, changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(b"not tensors at all")
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["best.pt", "model.PTH", "weights.bin"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(ModelError, match="refused"):
            load_checkpoint(path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, network: HeatmapNetwork) -> None:
    with torch.no_grad():
        network.head.finish.weight[0, 0, 0, 0] = 1e6
    save_checkpoint(tmp_path / "full", network, card_of(network))
    with pytest.raises(ModelError, match="not finite"):
        save_checkpoint(tmp_path / "half", network, card_of(network), half=True)
    assert not (tmp_path / "half").exists()


def test_a_card_of_another_network_is_refused(tmp_path: Path, network: HeatmapNetwork) -> None:
    card = card_of(network, spec=network_spec("m_hrnet_tiny", theta=0.5))
    with pytest.raises(ModelError, match="specification"):
        save_checkpoint(tmp_path / "x", network, card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 0.2}, "unknown key 'treshold'; did you mean 'threshold'"),
        ({"zzzz": 0.2}, "unknown key 'zzzz'; remove it"),
        ({"mpp_um": -1.0}, "mpp_um"),
        ({"floor": 0.9}, "above threshold"),
        ({"channels": ["positive"]}, "channel"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_card_or_weights_file_is_named(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: cannot read"):
        load_checkpoint(folder)
    (folder / "card.json").unlink()
    with pytest.raises(ModelError, match=r"card\.json: cannot read"):
        load_checkpoint(folder)


def test_a_card_written_before_families_and_rules_still_loads(
    folder: Path, network: HeatmapNetwork
) -> None:
    card = json.loads((folder / "card.json").read_text())
    del card["post"], card["spec"]["family"]
    (folder / "card.json").write_text(json.dumps(card))

    loaded, read = load_checkpoint(folder)

    assert (read.post, read.spec) == ("ccls", network.spec)
    assert read.peak_rule().window == 13
    assert loaded.spec.family == "hrnet"


def test_a_tile_relative_rule_is_refused_for_slides(network: HeatmapNetwork) -> None:
    for post in ("ccls", "lmss"):
        card_of(network, post=post).check_slides_allowed()
    with pytest.raises(ModelError, match=r"tiny: post=lmds .* depend on the tiles; use a model"):
        card_of(network, post="lmds").check_slides_allowed()


def test_a_model_without_classes_is_refused_for_slides() -> None:
    network = build_network(network_spec("m_hrnet_tiny", channels=1))
    card = card_of(network, channels=("cell",))
    with pytest.raises(ModelError, match=r"has one channel, .*a slide has no index"):
        card.check_slides_allowed()


@pytest.mark.parametrize("names", [("negative", "positive"), ("a", "b"), ("positive",) * 3])
def test_channels_are_positive_and_negative_in_this_order(
    network: HeatmapNetwork, names: tuple[str, ...]
) -> None:
    values = card_of(network).model_dump() | {"channels": names, "spec": None}
    with pytest.raises(ValidationError, match="positive and negative cells in this order"):
        ModelCard.model_validate(values)


@pytest.mark.parametrize("name", ["m_u_net_tiny", "u_csrnet_tiny", "hrnet_tiny"])
def test_every_family_is_stored_and_loaded(name: str, tmp_path: Path) -> None:
    network = build_network(network_spec(name)).eval()
    save_checkpoint(tmp_path / name, network, card_of(network))
    loaded, _ = load_checkpoint(tmp_path / name)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(pixels), network(pixels))
