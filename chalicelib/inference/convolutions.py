"""Convolutions for answering only: oneDNN's, with what follows them fused in, where it is there.

What PyTorch's own convolution does at each call is done once here: the weights are laid out as
the CPU's kernels want them. Without oneDNN the same answers come from the plain operators.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class Shape(NamedTuple):
    """How a convolution runs.

    side: pixels of its usual input; only a hint for the layout of the weights.
    ceiling: values are cut off below 0 and above this; inf is a ReLU, None leaves all.
    """

    side: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    ceiling: float | None = None


def fused_here() -> bool:
    """Return whether this build of PyTorch has oneDNN."""
    return bool(torch._C._has_mkldnn)  # noqa: SLF001 - its public name is untyped


class Convolution:
    """A convolution, float32, channels last, and what its shape says of its values.

    Args:
        weight: (outputs, inputs / groups, kernel, kernel), any floating type.
        bias: (outputs,), or None.
        shape: how it runs.
        packed: whether by oneDNN, with the weights laid out now.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, shape: Shape, *, packed: bool) -> None:
        self._bias = bias.float() if bias is not None else None
        self._shape = shape
        self._packed = packed
        self._padding, self._stride = [shape.padding] * 2, [shape.stride] * 2
        ceiling = shape.ceiling
        self._unary: tuple[str, list[float]] = ("none", [])
        if ceiling is not None:
            self._unary = ("relu", []) if math.isinf(ceiling) else ("hardtanh", [0.0, ceiling])
        weight = weight.float().contiguous()
        if packed:
            usual = [1, weight.shape[1] * shape.groups, shape.side, shape.side]
            pack: Callable[..., Tensor] = torch._C._nn.mkldnn_reorder_conv2d_weight  # noqa: SLF001
            self._weight = pack(
                weight.to_mkldnn(), self._padding, self._stride, [1, 1], shape.groups, usual
            )
        else:
            self._weight = weight.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        if self._packed:
            run: Any = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 - what Inductor calls
            name, scalars = self._unary
            y: Tensor = run(x, *self._how(), name, scalars, "")
            return y
        y = self._plain(x)
        ceiling = self._shape.ceiling
        return y if ceiling is None else y.clamp_(0, ceiling)

    def onto(self, base: Tensor, x: Tensor) -> Tensor:
        """Add the convolution of `x` to `base`, which it overwrites and returns."""
        if self._packed:
            run: Any = torch.ops.mkldnn._convolution_pointwise_.binary
            total: Tensor = run(base, x, *self._how(), "add", None, None, [], None)
            return total
        return base.add_(self._plain(x))

    def _how(self) -> tuple[Any, ...]:
        groups = self._shape.groups
        return self._weight, self._bias, self._padding, self._stride, [1, 1], groups

    def _plain(self, x: Tensor) -> Tensor:
        _, stride, padding, groups, _ = self._shape
        return functional.conv2d(x, self._weight, self._bias, stride, padding, 1, groups)
