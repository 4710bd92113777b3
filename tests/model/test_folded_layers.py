"""Laws of the folded forms of single layers: the map is that of the layer they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.model.folded_layers import (
    BAND_ROWS,
    Activated,
    PhasedEnlarge,
    Pointwise,
    in_folded_form,
    rows_of,
)
from pipeline.model.hrnet import BasicBlock, Bottleneck
from pipeline.model.layers import ConvNorm
from pipeline.model.mga import MGA, GatherBands

SIDES = st.integers(1, 2 * BAND_ROWS + 5)


def plane(seed: int, *shape: int) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(SIDES, st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.booleans())
@torch.inference_mode()
def test_phases_enlarge_as_the_transposed_convolution(
    height: int, width: int, channels: int, outputs: int, bias: bool
) -> None:
    layer = nn.ConvTranspose2d(channels, outputs, 4, stride=2, padding=1, bias=bias)
    phased = in_folded_form(layer)
    assert isinstance(phased, PhasedEnlarge)
    x = plane(height, 1, channels, height, width)
    found = phased(x)
    torch.testing.assert_close(found, layer(x), rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()


@torch.inference_mode()
def test_phases_are_float32_under_autocast() -> None:
    layer = nn.ConvTranspose2d(8, 2, 4, stride=2, padding=1)
    x = plane(0, 1, 8, 40, 24).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = PhasedEnlarge(layer)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(x.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1),  # fills the registers by itself
        nn.ConvTranspose2d(8, 2, 2, stride=2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.ReLU(),
    ],
)
def test_other_layers_stay_what_they_are(layer: nn.Module) -> None:
    assert in_folded_form(layer) is layer


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.booleans())
@torch.inference_mode()
def test_a_pointwise_layer_is_the_convolution(
    height: int, width: int, number: int, bias: bool
) -> None:
    layer = nn.Conv2d(18, 30, 1, bias=bias)
    pointwise = in_folded_form(layer)
    assert isinstance(pointwise, Pointwise)
    x = plane(width, number, 18, height, width)
    torch.testing.assert_close(pointwise(x), layer(x), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pointwise(x), layer(x))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
)
@torch.inference_mode()
def test_an_activated_convolution_adds_then_cuts_below_zero(
    height: int, width: int, side: int, stride: int, added: bool, planes: bool
) -> None:
    block = ConvNorm(18, 30, side, stride=stride).eval()
    block.fold()
    activated = in_folded_form(block)
    assert isinstance(activated, Activated)
    x = plane(width, 2, 18, height, width)
    if planes:  # another layout than the one a folded network works in
        x = x.contiguous()
    made = block.conv(x)
    residual = plane(height, *made.shape) if added else torch.zeros_like(made)
    expected = (made + residual).clamp(min=0)
    given_away = residual.clone() if added else None
    torch.testing.assert_close(activated(x, given_away), expected, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        found = activated(x, residual.bfloat16() if added else None)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_what_onednn_does_not_fuse_is_left_to_torch(dtype: torch.dtype) -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, dtype=dtype)
    x, residual = (torch.randn(1, channels, 8, 8).to(dtype) for channels in (4, 6))
    expected = (conv(x) + residual).clamp(min=0)
    torch.testing.assert_close(Activated(conv)(x, residual), expected)


@pytest.mark.parametrize(
    ("block", "channels"),
    [(BasicBlock(12), 12), (Bottleneck(48, 12), 48), (Bottleneck(12, 12), 12)],
)
@torch.inference_mode()
def test_a_folded_residual_is_the_residual(block: BasicBlock | Bottleneck, channels: int) -> None:
    block.eval()
    x = plane(3, 1, channels, 20, 28)
    expected = block(x)
    for module in reversed(list(block.modules())):
        if isinstance(module, ConvNorm | BasicBlock | Bottleneck):
            module.fold()
    torch.testing.assert_close(block(x.clone()), expected, rtol=1e-5, atol=1e-5)
    assert len(block.body) < 3


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.sampled_from([1, 2]), st.integers(0, 1000))
@torch.inference_mode()
def test_bands_gather_what_the_whole_plane_does(
    height: int, width: int, stride: int, seed: int
) -> None:
    torch.manual_seed(seed)
    gather = MGA(3, 16, stride=stride).eval()
    norm = nn.BatchNorm2d(16).eval()
    for values in (norm.weight, norm.bias, norm.get_buffer("running_mean")):
        nn.init.normal_(values)
    gather.fold()
    x = plane(seed, 1, 3, height, width)
    found = GatherBands(gather, norm)(x)
    torch.testing.assert_close(found, norm(gather(x)), rtol=1e-5, atol=1e-5)


def test_rows_beyond_a_plane_are_zero() -> None:
    x = plane(1, 1, 2, 5, 3)
    padded = rows_of(x, -2, 7)
    assert padded.shape == (1, 2, 9, 3)
    assert torch.equal(padded[:, :, 2:7], x)
    assert not padded[:, :, :2].any()
    assert not padded[:, :, 7:].any()
    assert rows_of(x, 1, 4).data_ptr() == x[:, :, 1:].data_ptr()
