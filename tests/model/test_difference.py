"""Laws of the difference convolution and the MGA module."""

import pytest
import torch

from pipeline.errors import ModelError
from pipeline.model.difference import DifferenceConv2d
from pipeline.model.mga import MGA
from pipeline.model.size import parameter_count


def literal(conv: DifferenceConv2d, x: torch.Tensor) -> torch.Tensor:
    """The definition, with two convolutions: plain minus theta times the kernel's sum at 1x1."""
    plain = torch.nn.functional.conv2d(
        x, conv.weight, None, conv.stride, conv.padding, conv.dilation
    )
    total = conv.weight.sum(dim=(2, 3), keepdim=True)
    return plain - conv.theta * torch.nn.functional.conv2d(x, total, None, conv.stride)


@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("theta", [0.0, 0.7, 1.0])
def test_difference_convolution_is_its_definition_and_its_fold(
    dilation: int, stride: int, theta: float
) -> None:
    torch.manual_seed(dilation)
    conv = DifferenceConv2d(5, 7, 3, stride=stride, dilation=dilation, theta=theta)
    x = torch.randn(2, 5, 23, 18)
    assert torch.allclose(conv(x), literal(conv, x), atol=1e-5)
    assert torch.allclose(conv(x), conv.fold()(x), atol=1e-5)


def test_gradients_of_the_difference_convolution_are_those_of_its_definition() -> None:
    torch.manual_seed(0)
    conv = DifferenceConv2d(3, 4, 3, dilation=2).double()
    x = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    (ours,) = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    (wanted,) = torch.autograd.grad(literal(conv, x).square().sum(), conv.weight)
    assert torch.allclose(ours, wanted, rtol=1e-10)


def test_theta_one_is_blind_to_a_constant_input() -> None:
    conv = DifferenceConv2d(3, 4, 3, theta=1.0)
    inside = conv(torch.full((1, 3, 9, 9), 5.0))[..., 1:-1, 1:-1]
    assert inside.abs().max() < 1e-5


@pytest.mark.parametrize("options", [{"kernel_size": 4}, {"theta": 1.5}, {"theta": -0.1}])
def test_a_kernel_without_a_centre_or_an_impossible_theta_is_refused(
    options: dict[str, float],
) -> None:
    with pytest.raises(ModelError, match="difference convolution"):
        DifferenceConv2d(3, 4, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("in_channels", "parameters"), [(3, 9_312), (64, 10_288)])
def test_mga_has_the_published_number_of_parameters(in_channels: int, parameters: int) -> None:
    assert parameter_count(MGA(in_channels, 64)) == parameters


@pytest.mark.parametrize("stride", [1, 2])
def test_folded_mga_equals_mga(stride: int) -> None:
    torch.manual_seed(1)
    mga = MGA(3, 64, stride=stride)
    for _ in range(3):
        mga(torch.randn(4, 3, 32, 32) * 2 + 1)
    mga.eval()
    x = torch.randn(2, 3, 40, 33)
    before = mga(x)
    mga.fold()
    assert not any(isinstance(m, DifferenceConv2d | torch.nn.BatchNorm2d) for m in mga.modules())
    assert (mga(x) - before).abs().max() < 1e-5


def test_branches_are_summed_from_the_finest_to_the_coarsest() -> None:
    mga = MGA(3, 16).eval()
    x = torch.randn(1, 3, 16, 16)
    z = mga.act(mga.norm(mga.project(x)))
    single = [branch(z) for branch in mga.branches]
    stacked = mga(x).split(4, dim=1)
    for k in range(4):
        assert torch.allclose(stacked[k], torch.stack(single[: k + 1]).sum(dim=0), atol=1e-5)


def test_mga_refuses_channels_that_four_branches_cannot_share() -> None:
    with pytest.raises(ModelError, match="multiple of 4"):
        MGA(3, 30)
