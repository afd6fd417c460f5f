"""The form of EfficientNet-Lite that answers fast on a CPU; the same answers as the plain one.

Batch norms are multiplied into the convolutions, ReLU6 and the addition at the end of a block
happen in the convolution before them, and the weights are laid out once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from chalicelib.inference.convolutions import Convolution, Shape, fused_here
from chalicelib.inference.output import Output
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from chalicelib.inference.networks import ConvNorm, EfficientNetLite

_CEILING = 6.0  # of ReLU6


class _Block(NamedTuple):
    before: tuple[Convolution, ...]
    last: Convolution
    skip: bool

    def __call__(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self.before:
            y = convolution(y)
        # `x` is the block's own input: nobody reads it after this.
        return self.last.onto(x, y) if self.skip else self.last(y)


class FusedEfficientNetLite:
    """`EfficientNetLite` for answering only; it keeps its own copy of the weights.

    Args:
        plain: the network, in evaluation mode, with its trained state.
        packed: whether to run oneDNN's fused convolutions; None takes them where they exist.
    """

    def __init__(self, plain: EfficientNetLite, *, packed: bool | None = None) -> None:
        self._packed = fused_here() if packed is None else packed
        self._size = (plain.enlarged, plain.enlarged)
        with one_thread():
            self._stem, side = self._fused(plain.stem, plain.enlarged)
            self._blocks = []
            blocks: Iterable[Any] = plain.blocks
            for block in blocks:
                made = []
                for layer in block.layers:
                    convolution, side = self._fused(layer, side)
                    made.append(convolution)
                self._blocks.append(_Block(tuple(made[:-1]), made[-1], block.skip))
            self._head, _ = self._fused(plain.head, side)
        self._rows = plain.classifier.weight.detach().T.contiguous()
        self._bias = plain.classifier.bias.detach().clone()

    def _fused(self, layer: ConvNorm, side: int) -> tuple[Convolution, int]:
        """Return the layer for inputs of `side` pixels, and the side of its output."""
        conv = fuse_conv_bn_eval(layer.conv, layer.norm)
        weight, stride, padding = conv.weight.detach(), conv.stride[0], int(conv.padding[0])
        if layer.shift:
            # One more row and column after the image than before it: the same as the padding on
            # all sides for a kernel that has one more before, of zeros. It spares a copy.
            weight, padding = functional.pad(weight, (1, 0, 1, 0)), layer.shift
        shape = Shape(side, stride, padding, conv.groups, None if layer.linear else _CEILING)
        bias = conv.bias.detach() if conv.bias is not None else None
        made = Convolution(weight, bias, shape, packed=self._packed)
        return made, -(-side // stride)

    def __call__(self, x: Tensor) -> Output:
        """Answer logits and class activation maps, as `EfficientNetLite.forward` does."""
        x = functional.interpolate(x, self._size, mode="bilinear", align_corners=False)
        x = self._stem(x.contiguous(memory_format=torch.channels_last))
        for block in self._blocks:
            x = block(x)
        cams = (self._head(x).permute(0, 2, 3, 1) @ self._rows).permute(0, 3, 1, 2)
        return Output(cams.mean(dim=(2, 3)) + self._bias, cams)
