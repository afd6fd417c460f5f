"""DenseNet-121 for one-channel images, and the form of it that answers fast on a CPU.

`DenseNet121` is the network as Huang et al. drew it (CVPR 2017, table 1); its tensors have the
names that torchvision and torchxrayvision gave them, so that their weights load as they are.
`FusedDenseNet121` gives the same answers in about a third of the time. What it does:

* A batch norm behind a convolution is multiplied into it. The one before a convolution cannot be,
  since a ReLU stands between them. But for a > 0, relu(a x + b) = a max(x, -b/a) + b, and for
  a < 0 with min: the norm and its ReLU become one comparison, and a and b move into the
  convolution. This holds exactly, up to rounding.
* The layers of a block write into slices of one buffer instead of copying all that went before.
* Convolutions are oneDNN's with the ReLU fused in and the weights laid out once, not at each call.
* A transition pools before its convolution, not after: both are linear, and a quarter is left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from chalicelib.inference.convolutions import Convolution, Shape, fused_here
from chalicelib.inference.output import Output
from chalicelib.inference.threads import one_thread

_BLOCKS = (6, 12, 24, 16)
_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH
_STEM = 64
# Only a hint for the layout of the weights; any input size gives the same answer.
_USUAL_SIZE = 224


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, _BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(y)))], 1)


class _Transition(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(self.conv(functional.relu(self.norm(x))), 2)


class DenseNet121(nn.Module):
    """The plain network.

    Input float32 (N, 1, H, W) in the range that its weights were trained on; see `Output` for the
    answer, in which h = H / 32 and w = W / 32, rounded down after each halving.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(1, _STEM, 7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(_STEM))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        width = _STEM
        for number, depth in enumerate(_BLOCKS, 1):
            block = nn.Sequential()
            for layer in range(1, depth + 1):
                block.add_module(f"denselayer{layer}", _DenseLayer(width))
                width += _GROWTH
            self.features.add_module(f"denseblock{number}", block)
            if number < len(_BLOCKS):
                self.features.add_module(f"transition{number}", _Transition(width))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, labels)

    def forward(self, x: Tensor) -> Output:
        """Answer logits and class activation maps from one pass."""
        last = functional.relu(self.features(x))
        logits = self.classifier(last.mean(dim=(2, 3)))
        return Output(logits, functional.conv2d(last, self.classifier.weight[:, :, None, None]))


class _Knee(NamedTuple):
    """A batch norm and its ReLU as a comparison; see the module's first lines.

    low and high: float32, (1, channels, 1, 1); high is None when no channel needs it. scale and
    shift: float64, (channels,), what the next layer's weights still have to do.
    """

    low: Tensor
    high: Tensor | None
    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.low) if self.high is None else x.clamp(self.low, self.high)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return a and b, float64, with norm(x) = a x + b."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm without running statistics cannot be fused")
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - mean.double() * scale


def _knee(norm: nn.BatchNorm2d) -> _Knee:
    scale, shift = _affine(norm)
    at = (-shift / scale).float().view(1, -1, 1, 1)
    # A channel that the norm does not let through is the constant relu(b), whatever comes in.
    dead = ~at.isfinite()
    scale = torch.where(dead.flatten(), 0.0, scale)
    shift = torch.where(dead.flatten(), shift.relu(), shift)
    rising, infinite = scale.view(1, -1, 1, 1) > 0, torch.tensor(torch.inf)
    low = torch.where(dead, 0.0, torch.where(rising, at, -infinite))
    high = torch.where(dead, 0.0, torch.where(rising, infinite, at))
    return _Knee(low, None if bool(rising.all()) else high, scale, shift)


def _behind(knee: _Knee, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias, float64, of a 1 x 1 convolution that a knee's rest moved into."""
    return weight.double() * knee.scale[:, None, None], weight.double()[:, :, 0, 0] @ knee.shift


class FusedDenseNet121:
    """`DenseNet121` for answering only; it keeps its own copy of the weights.

    Args:
        plain: the network, in evaluation mode, with its trained state.
        packed: whether to run oneDNN's fused convolutions; None takes them where they exist.
    """

    def __init__(self, plain: DenseNet121, *, packed: bool | None = None) -> None:
        with one_thread():
            self._fuse(plain, packed=fused_here() if packed is None else packed)

    def _fuse(self, plain: DenseNet121, *, packed: bool) -> None:
        parts: dict[str, Any] = dict(plain.features.named_children())
        side = _USUAL_SIZE
        scale, shift = _affine(parts["norm0"])
        stem = parts["conv0"].weight.double() * scale[:, None, None, None]
        shape = Shape(side, stride=2, padding=3, ceiling=torch.inf)
        self._stem = Convolution(stem, shift, shape, packed=packed)
        self._blocks: list[list[tuple[_Knee, Convolution, Convolution]]] = []
        self._transitions: list[tuple[_Knee, Convolution]] = []
        side //= 4
        for number in range(1, len(_BLOCKS) + 1):
            block = parts[f"denseblock{number}"]
            self._blocks.append([_fused_layer(layer, side, packed=packed) for layer in block])
            side //= 2
            if number < len(_BLOCKS):
                transition = parts[f"transition{number}"]
                knee = _knee(transition.norm)
                weight, bias = _behind(knee, transition.conv.weight)
                conv = Convolution(weight, bias, Shape(side), packed=packed)
                self._transitions.append((knee, conv))
        self._last = _knee(parts["norm5"])
        rows = plain.classifier.weight.double()
        self._rows = (rows * self._last.scale).float().T.contiguous()
        self._rest = (rows @ self._last.shift).float()
        self._bias = plain.classifier.bias.detach().clone()

    def __call__(self, x: Tensor) -> Output:
        """Answer logits and class activation maps, as `DenseNet121.forward` does."""
        x = functional.max_pool2d(self._stem(x), 3, stride=2, padding=1)
        for number, block in enumerate(self._blocks):
            count, width, height, across = x.shape
            whole = (count, width + _GROWTH * len(block), height, across)
            grown = torch.empty(whole, memory_format=torch.channels_last)
            grown[:, :width] = x
            for knee, narrow, conv in block:
                grown[:, width : width + _GROWTH] = conv(narrow(knee(grown[:, :width])))
                width += _GROWTH
            if number < len(self._transitions):
                knee, conv = self._transitions[number]
                x = conv(functional.avg_pool2d(knee(grown), 2))
        cams = (self._last(grown).permute(0, 2, 3, 1) @ self._rows + self._rest).permute(0, 3, 1, 2)
        return Output(cams.mean(dim=(2, 3)) + self._bias, cams)


def _fused_layer(
    layer: _DenseLayer, side: int, *, packed: bool
) -> tuple[_Knee, Convolution, Convolution]:
    knee = _knee(layer.norm1)
    weight, bias = _behind(knee, layer.conv1.weight)
    scale, shift = _affine(layer.norm2)
    weight, bias = weight * scale[:, None, None, None], bias * scale + shift
    narrow = Convolution(weight, bias, Shape(side, ceiling=torch.inf), packed=packed)
    conv = Convolution(layer.conv2.weight, None, Shape(side, padding=1), packed=packed)
    return knee, narrow, conv
