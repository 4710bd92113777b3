"""Laws of the named networks: sizes, shapes, sides, folding."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import ModelError
from pipeline.model.difference import DifferenceConv2d
from pipeline.model.fold import fold_network
from pipeline.model.registry import (
    ARCHITECTURES,
    HeatmapNetwork,
    NetworkSpec,
    build_network,
    network_spec,
)
from pipeline.model.size import multiply_adds, parameter_count


def settled(spec: NetworkSpec) -> HeatmapNetwork:
    """A network whose norms have seen some pixels, in evaluation mode."""
    torch.manual_seed(3)
    network = build_network(spec)
    with torch.no_grad():
        for _ in range(20):
            network(torch.randint(0, 256, (4, 3, 64, 64)))
    return network.eval()


# millions of parameters and 1e9 multiply-adds at 512 x 512: the published code's networks, measured
@pytest.mark.parametrize(
    ("name", "channels", "parameters_m", "gmacs"),
    [
        ("m_hrnet_w18", 2, 9.92, 23.8),
        pytest.param("m_hrnet_w32", 2, 30.04, 54.1, marks=pytest.mark.slow),
        pytest.param("m_hrnet_w48", 2, 66.59, 106.47, marks=pytest.mark.slow),
        pytest.param("hrnet_w48", 1, 66.58, 105.8, marks=pytest.mark.slow),
    ],
)
def test_named_networks_are_as_large_as_the_published_ones(
    name: str, channels: int, parameters_m: float, gmacs: float
) -> None:
    with torch.device("meta"):
        network = build_network(network_spec(name, channels=channels))
    assert parameter_count(network) / 1e6 == pytest.approx(parameters_m, rel=0.001)
    assert multiply_adds(network, side_px=512) / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_the_small_network_costs_about_a_third() -> None:
    with torch.device("meta"):
        small, whole = (
            multiply_adds(build_network(network_spec(name)), side_px=256)
            for name in ("m_hrnet_w18_small", "m_hrnet_w18")
        )
    assert 0.25 < small / whole < 0.36


def test_the_tiny_network_is_tiny() -> None:
    assert parameter_count(build_network(network_spec("m_hrnet_tiny"))) < 150_000


@pytest.mark.parametrize("mga", ["replace", "insert", "none"])
def test_heatmap_has_the_size_of_the_pixels_and_every_weight_learns(mga: str) -> None:
    network = build_network(network_spec("m_hrnet_tiny", mga=mga, channels=2))
    heatmap = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert heatmap.shape == (2, 2, 64, 96)
    heatmap.square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_uint8_and_float_pixels_give_the_same_heatmap() -> None:
    network = build_network(network_spec("m_hrnet_tiny")).eval()
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(network(pixels), network(pixels.float()))


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (1, 3, 64, 33), (1, 4, 32, 32), (3, 32, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    network = build_network(network_spec("m_hrnet_tiny"))
    with pytest.raises(ModelError, match=r"multiples of 32|N, 3, H, W"):
        network(torch.zeros(shape))


def test_a_shift_by_the_stride_shifts_the_heatmap() -> None:
    network = settled(network_spec("m_hrnet_tiny"))
    pixels = torch.randint(0, 256, (1, 3, 512, 512), dtype=torch.uint8)
    with torch.no_grad():
        whole = network(pixels)
        part = network(pixels[..., 32:, 32:])
    inside = slice(416, 480)
    shifted = slice(416 - 32, 480 - 32)
    assert torch.allclose(
        whole[..., inside, inside], part[..., shifted, shifted], atol=1e-3 * float(whole.std())
    )


@pytest.mark.parametrize("mga", ["replace", "insert", "none"])
def test_folded_network_equals_the_network(mga: str) -> None:
    network = settled(network_spec("m_hrnet_tiny", mga=mga))
    folded = fold_network(network)
    pixels = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    with torch.no_grad():
        heatmap = network(pixels)
        difference = folded(pixels) - heatmap
    assert difference.abs().max() < 1e-5 * max(1.0, float(heatmap.abs().max()))
    assert not any(isinstance(m, DifferenceConv2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_unknown_architectures_and_fields_are_refused() -> None:
    with pytest.raises(ModelError, match=r"known: .*m_hrnet_w18"):
        network_spec("resnet")
    with pytest.raises(ValidationError):
        network_spec("m_hrnet_tiny", widht=3)
    assert ARCHITECTURES["m_hrnet_w48"].width == 48
