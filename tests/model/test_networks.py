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
        pytest.param("m_hrnet_w48_insert", 1, 66.59, 106.6, marks=pytest.mark.slow),
        ("u_csrnet", 1, 16.31, 108.6),
        ("m_u_csrnet", 1, 16.31, 110.8),
        ("u_net", 1, 34.53, 261.8),
        ("m_u_net", 1, 34.54, 264.0),
        ("m_u_net_block", 1, 34.50, 254.3),
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


EVERY_PLACE = [
    ("hrnet_tiny", "replace"),
    ("hrnet_tiny", "insert"),
    ("hrnet_tiny", "none"),
    ("u_net_tiny", "replace"),
    ("u_net_tiny", "block"),
    ("u_net_tiny", "none"),
    ("u_csrnet_tiny", "replace"),
    ("u_csrnet_tiny", "none"),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "mga"), EVERY_PLACE)
def test_heatmap_has_the_size_of_the_pixels_and_every_weight_learns(
    name: str, mga: str, channels: int
) -> None:
    network = build_network(network_spec(name, mga=mga, channels=channels))
    heatmap = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert heatmap.shape == (2, channels, 64, 96)
    heatmap.square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())


@pytest.mark.parametrize(("name", "mga"), EVERY_PLACE)
def test_theta_changes_the_heatmap_only_where_there_is_a_gradient_module(
    name: str, mga: str
) -> None:
    heatmaps = []
    for theta in (0.0, 0.7):
        torch.manual_seed(5)
        network = build_network(network_spec(name, mga=mga, theta=theta)).eval()
        torch.manual_seed(6)
        with torch.no_grad():
            heatmaps.append(network(torch.randint(0, 256, (1, 3, 64, 64))))
    assert torch.equal(*heatmaps) == (mga == "none")


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


# pixels that can change the heatmap of one pixel: exactly those within the reach
@pytest.mark.parametrize(
    ("name", "stride", "reach"),
    [("m_u_net_tiny", 16, 160), ("u_csrnet_tiny", 8, 160), ("m_u_csrnet_tiny", 8, 160)],
)
def test_a_halo_of_the_reach_makes_a_tile_equal_to_the_whole(
    name: str, stride: int, reach: int
) -> None:
    network = settled(network_spec(name))
    assert network.spec.stride == stride
    pixels = torch.randint(0, 256, (1, 3, 416, 416), dtype=torch.uint8)
    with torch.no_grad():
        whole = network(pixels)
        tile = network(pixels[..., 32:, 64:])
    core = (slice(32 + reach, 416 - reach), slice(64 + reach, 416 - reach))
    difference = whole[..., core[0], core[1]] - tile[..., reach:-reach, reach:-reach]
    assert difference.numel() > 1000
    assert difference.abs().max() < 1e-5 * float(whole.abs().max())


@pytest.mark.parametrize(("name", "mga"), EVERY_PLACE)
def test_folded_network_equals_the_network(name: str, mga: str) -> None:
    network = settled(network_spec(name, mga=mga))
    folded = fold_network(network)
    pixels = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    with torch.no_grad():
        heatmap = network(pixels)
        difference = folded(pixels) - heatmap
    assert difference.abs().max() < 1e-5 * max(1.0, float(heatmap.abs().max()))
    assert not any(isinstance(m, DifferenceConv2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_a_gradient_module_without_a_place_is_refused() -> None:
    with pytest.raises(ValidationError, match="mga=insert has no place in u_net"):
        network_spec("u_net", mga="insert")
    with pytest.raises(ValidationError, match="mga=block has no place in hrnet"):
        network_spec("hrnet_w18", mga="block")


def test_unknown_architectures_and_fields_are_refused() -> None:
    with pytest.raises(ModelError, match=r"known: .*m_hrnet_w18"):
        network_spec("resnet")
    with pytest.raises(ValidationError):
        network_spec("m_hrnet_tiny", widht=3)
    assert ARCHITECTURES["m_hrnet_w48"].width == 48
