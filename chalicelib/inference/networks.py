"""The architectures that a pack's manifest may name, each ending in pooling and one linear layer.

That ending makes the class activation map exact and free: the map of a label is the last feature
map weighted by that label's row of the linear layer (Zhou et al., CVPR 2016), from the same
forward pass, with no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.densenet import DenseNet121, FusedDenseNet121
from chalicelib.inference.efficientnet_fused import FusedEfficientNetLite
from chalicelib.inference.output import Output as Output  # noqa: PLC0414 - named here by users

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


Module = TypeVar("Module", bound=nn.Module)


class Stage(NamedTuple):
    """A run of inverted-residual blocks of one width (Tan and Le, ICML 2019, table 1)."""

    expansion: int
    width: int
    depth: int
    kernel: int
    stride: int


# EfficientNet-Lite0, as published.
LITE0 = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)
_STEM_WIDTH = 32
_HEAD_WIDTH = 1280


class Kernel(NamedTuple):
    """A convolution's shape.

    A strided one pads by the rule of `late`: False puts the extra row and column after the image
    only (as TensorFlow does), True puts half of the padding on each side. The two rules shift the
    sampling grid in opposite directions; a network that uses the second for its last stride alone
    has its grid cells centred to within half an input pixel.
    """

    size: int
    stride: int = 1
    groups: int = 1
    late: bool = False


class ConvNorm(nn.Module):
    """Convolution, batch norm and (unless linear) ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, *, linear: bool = False) -> None:
        super().__init__()
        size, stride, groups, late = kernel
        self.shift = (size - 1) // 2 if stride > 1 and not late else 0
        padding = 0 if self.shift else size // 2
        self.conv = nn.Conv2d(
            inputs, outputs, size, stride=stride, padding=padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self.shift:
            x = functional.pad(x, (self.shift - 1, self.shift, self.shift - 1, self.shift))
        x = self.norm(self.conv(x))
        return x if self.linear else functional.relu6(x, inplace=not self.training)


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; add the input where the shapes agree."""

    def __init__(self, inputs: int, stage: Stage, *, stride: int, late: bool, drop: float) -> None:
        super().__init__()
        hidden = inputs * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers.append(ConvNorm(inputs, hidden, Kernel(1)))
        layers.append(ConvNorm(hidden, hidden, Kernel(stage.kernel, stride, hidden, late)))
        layers.append(ConvNorm(hidden, stage.width, Kernel(1), linear=True))
        self.layers = nn.Sequential(*layers)
        self.skip = stride == 1 and inputs == stage.width
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.layers(x)
        if not self.skip:
            return y
        if self.training and self.drop > 0:
            keep = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * keep / (1 - self.drop)
        return x + y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite for one-channel images, total stride 32.

    Input float32 (N, 1, H, W), roughly standardised; see `Output` for the answer, in which
    h = w = ceil(enlarged / 32). The image is first enlarged to `enlarged` pixels square: the
    published kernels expect things to be as large as they were in ImageNet, and an image of 128
    pixels would leave a map of 4 x 4. Enlarging here rather than before makes the network see the
    same sharpness whatever the size of the radiograph was.
    """

    def __init__(
        self,
        labels: int,
        stages: Sequence[Stage] = LITE0,
        *,
        enlarged: int = 192,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.enlarged = enlarged
        self.stem = ConvNorm(1, _STEM_WIDTH, Kernel(3, stride=2))
        blocks: list[nn.Module] = []
        width = _STEM_WIDTH
        total = sum(stage.depth for stage in stages)
        last = max(i for i, stage in enumerate(stages) if stage.stride > 1)
        for index, stage in enumerate(stages):
            for step in range(stage.depth):
                stride = stage.stride if step == 0 else 1
                drop = drop_path * len(blocks) / total
                blocks.append(
                    InvertedResidual(width, stage, stride=stride, late=index == last, drop=drop)
                )
                width = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(width, _HEAD_WIDTH, Kernel(1))
        self.dropout = dropout
        self.classifier = nn.Linear(_HEAD_WIDTH, labels)

    def features(self, x: Tensor) -> Tensor:
        """Map (N, 1, H, W) to the last feature map, (N, 1280, h, w), values in [0, 6]."""
        size = (self.enlarged, self.enlarged)
        x = functional.interpolate(x, size, mode="bilinear", align_corners=False)
        x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.head(self.blocks(self.stem(x)))
        return y

    def forward(self, x: Tensor) -> Output:
        """Answer logits and class activation maps from one pass."""
        last = self.features(x)
        pooled = last.mean(dim=(2, 3))
        if self.training and self.dropout > 0:
            pooled = functional.dropout(pooled, self.dropout)
        logits = self.classifier(pooled)
        if self.training:
            return Output(logits, logits.new_empty(0))
        weight = self.classifier.weight[:, :, None, None]
        return Output(logits, functional.conv2d(last, weight))


class Network(Protocol):
    """What every architecture here is called as; also an `nn.Module`."""

    def __call__(self, x: Tensor) -> Output:
        """Answer a batch."""


_ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = {
    "densenet121": DenseNet121,
    "efficientnet-lite0-enlarged": EfficientNetLite,
}


def channels_last(network: Module) -> Module:
    """Lay the weights out as the CPU's convolutions want them; the answer stays the same."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def build(architecture: str, labels: int, tensors: Mapping[str, Tensor]) -> Network:
    """Return a network ready to answer, in its fused form: float32, no gradients.

    `tensors`: its state by name; halves are widened to float32. Raises ModelUnavailable when the
    architecture is unknown or the tensors are not exactly its own.
    """
    if architecture not in _ARCHITECTURES:
        raise ModelUnavailable(f"the architecture {architecture!r} is unknown")
    with torch.device("meta"):  # the random initial values would be thrown away
        network = _ARCHITECTURES[architecture](labels)
    expected = network.state_dict()
    wide = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    # PyTorch compares names and shapes only; whole or complex numbers would fail later, if at all.
    alike = all(
        tensor.is_floating_point() == expected[name].is_floating_point()
        for name, tensor in wide.items()
        if name in expected
    )
    try:
        network.load_state_dict(wide, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelUnavailable(f"the weights are not those of {architecture!r}") from error
    if not alike:
        raise ModelUnavailable(f"the weights of {architecture!r} have another type")
    network.eval().requires_grad_(requires_grad=False)
    if isinstance(network, DenseNet121):
        return FusedDenseNet121(network)
    return FusedEfficientNetLite(cast("EfficientNetLite", network))


def standardise(batch: Tensor) -> Tensor:
    """Bring each image, float32 (N, 1, H, W) of any scale, to mean 0 and deviation 1.

    A uniform image has no deviation and becomes all zeros.
    """
    mean = batch.mean(dim=(2, 3), keepdim=True)
    deviation = batch.std(dim=(2, 3), keepdim=True, correction=0)
    return (batch - mean) / deviation.clamp_min(1e-3)
