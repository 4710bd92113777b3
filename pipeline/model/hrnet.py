"""A high-resolution network: parallel branches at 1/4, 1/8, 1/16 and 1/32 that keep exchanging."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.model.folded_layers import Activated
from pipeline.model.layers import ConvNorm
from pipeline.model.mga import MGA, GatherBands

StemKind = Literal["replace", "insert", "none"]

EXPANSION = 4


@dataclass(frozen=True, slots=True)
class HRNetShape:
    """Sizes of the network.

    Branch ``b`` has ``width * 2**b`` channels; ``modules`` counts the exchange modules of the
    stages with two, three and four branches, ``blocks`` a branch's residual blocks between two
    exchanges.
    """

    width: int
    stem_channels: int = 64
    bottlenecks: int = 4
    bottleneck_channels: int = 64
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    mga: StemKind = "none"
    theta: float = 0.7


class Stem(nn.Module):
    """Two stride-2 convolutions; MGA replaces the first, follows it, or is absent."""

    def __init__(self, channels: int, mga: StemKind, theta: float) -> None:
        super().__init__()
        first: list[nn.Module] = []
        if mga != "replace":
            first.append(nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False))
        if mga == "replace":
            first.append(MGA(3, channels, stride=2, theta=theta))
        elif mga == "insert":
            first.append(MGA(channels, channels, theta=theta))
        self.first = nn.Sequential(*first)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.second = ConvNorm(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, channels, H / 4, W / 4)``."""
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        return cast("Tensor", self.second(x))

    def fold(self) -> None:
        """Absorb the norm in what precedes it, in place (evaluation only)."""
        last = self.first[-1]
        if isinstance(last, MGA):
            self.first[-1], self.norm = GatherBands(last, self.norm), nn.Identity()
        if isinstance(last, nn.Conv2d) and isinstance(self.norm, nn.BatchNorm2d):
            self.first[-1] = fuse_conv_bn_eval(last, self.norm)
            self.norm = nn.Identity()


class Residual(nn.Module):
    """What a body of convolutions adds to its input, or to a shortcut of it."""

    def __init__(self, *body: ConvNorm, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.last: Activated | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)``; folded, it may write over its input."""
        if self.last is not None:
            return cast("Tensor", self.last(self.body(x), self.shortcut(x)))
        return functional.relu(self.body(x).add_(self.shortcut(x)), inplace=True)

    def fold(self) -> None:
        """Let the last convolution add and activate, in place (the body is folded already)."""
        if self.last is None:
            self.last = Activated(cast("ConvNorm", self.body[-1]).conv)
            self.body = cast("nn.Sequential", self.body[:-1])


class Bottleneck(Residual):
    """A residual of 1x1, 3x3 and 1x1 convolutions, four times wider outside than inside."""

    def __init__(self, in_channels: int, channels: int) -> None:
        out_channels = channels * EXPANSION
        super().__init__(
            ConvNorm(in_channels, channels, 1),
            ConvNorm(channels, channels, 3),
            ConvNorm(channels, out_channels, 1, relu=False),
            shortcut=None
            if in_channels == out_channels
            else ConvNorm(in_channels, out_channels, 1, relu=False),
        )


class BasicBlock(Residual):
    """A residual of two 3x3 convolutions at constant width."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            ConvNorm(channels, channels, 3), ConvNorm(channels, channels, 3, relu=False)
        )


class Exchange(nn.Module):
    """Residual blocks on every branch, then each branch receives the sum of all of them."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.paths = nn.ModuleList(
            nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Keep the list of ``(N, width_b, H / 2**b, W / 2**b)``, finest first."""
        inputs = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [
            self._gather(inputs, cast("nn.ModuleList", paths), target)
            for target, paths in enumerate(self.paths)
        ]

    def _gather(self, inputs: list[Tensor], paths: nn.ModuleList, target: int) -> Tensor:
        total = inputs[target]
        size = inputs[target].shape[-2:]
        for source, path in enumerate(paths):
            if source == target:
                continue
            moved = path(inputs[source])
            total = total + (upsample(moved, size) if source > target else moved)
        return functional.relu(total)


class HRNet(nn.Module):
    """The branches of a high-resolution network over an RGB plane.

    References
    ----------
    Wang et al., Deep high-resolution representation learning for visual recognition, TPAMI 2021.
    """

    def __init__(self, shape: HRNetShape) -> None:
        super().__init__()
        self.stem = Stem(shape.stem_channels, shape.mga, shape.theta)
        inner, outer = shape.bottleneck_channels, shape.bottleneck_channels * EXPANSION
        self.first_stage = nn.Sequential(
            Bottleneck(shape.stem_channels, inner),
            *(Bottleneck(outer, inner) for _ in range(shape.bottlenecks - 1)),
        )
        widths = tuple(shape.width * 2**branch for branch in range(4))
        self.widths = widths
        self.enter = nn.ModuleList(
            [ConvNorm(outer, widths[0], 3), ConvNorm(outer, widths[1], 3, stride=2)]
        )
        self.descend = nn.ModuleList(
            ConvNorm(widths[b], widths[b + 1], 3, stride=2) for b in (1, 2)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(Exchange(widths[: stage + 2], shape.blocks) for _ in range(count))
            for stage, count in enumerate(shape.modules)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, 3, H, W)``, normalised, to four branches at strides 4, 8, 16 and 32."""
        x = self.first_stage(self.stem(x))
        features = [enter(x) for enter in self.enter]
        for index, stage in enumerate(self.stages):
            if index > 0:
                features.append(self.descend[index - 1](features[-1]))
            for exchange in cast("nn.ModuleList", stage):
                features = exchange(features)
        return features


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Enlarge ``(N, C, h, w)`` bilinearly to ``size`` (height, width) with half-pixel centres."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def initialise(network: nn.Module) -> None:
    """Draw every weight for ReLU networks (Kaiming), norms at identity, biases at zero.

    Weights without memory (the meta device) stay as they are: they are given later, and to draw
    them torch would import its compiler, a second and 100 MB of each worker.
    """
    for module in network.modules():
        if any(weight.is_meta for weight in module.parameters(recurse=False)):
            continue
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            # a 4x4 stride-2 kernel reaches each output pixel with a quarter of its taps
            taps = module.weight[0, 0].numel() / (module.stride[0] * module.stride[1])
            nn.init.normal_(module.weight, std=(2.0 / (module.in_channels * taps)) ** 0.5)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Return what carries one branch to another: 1x1 upwards, stride-2 3x3 steps downwards."""
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNorm(widths[source], widths[target], 1, relu=False)
    width = widths[source]
    steps = [ConvNorm(width, width, 3, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, ConvNorm(width, widths[target], 3, stride=2, relu=False))
