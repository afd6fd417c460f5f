"""Bytes of a safetensors file to tensors, whatever is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load

from chalicelib.errors import ModelUnavailable

if TYPE_CHECKING:
    from torch import Tensor

# What its PyTorch side raises for types that PyTorch lacks, and for shapes that do not fit.
_BROKEN = (SafetensorError, AssertionError, KeyError, RuntimeError, TypeError, ValueError)


def parse_safetensors(data: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors by name, in the types of the file; `name` is for the reason.

    Raises ModelUnavailable when it is no safetensors file that PyTorch can hold.
    """
    try:
        return load(data)
    except _BROKEN as error:
        raise ModelUnavailable(f"{name} is no safetensors file") from error
