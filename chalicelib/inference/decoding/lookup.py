"""DICOM's grey pipeline as one table: modality LUT, VOI LUT or window, output range, inversion.

A stored sample has at most 16 bits, so the whole pipeline of PS3.3 C.11 is computed once for every
value that can occur, and the image is then mapped in one pass: exact, fast and small in memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chalicelib.inference.decoding.plane import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

WHITE = 65535


class Lut(NamedTuple):
    """One item of a LUT sequence. `data`: output values; `first`: the input mapped to data[0]."""

    data: Values
    first: int
    bits: int

    def apply(self, values: Values) -> Values:
        """Look values up; those outside the table take its first or last entry."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.data) - 1)
        looked_up: Values = np.take(self.data, index.astype(np.int64))
        return looked_up

    def top(self) -> float:
        """Return the output range's upper end, wider than declared where the data are."""
        return max(float(2**self.bits - 1), float(self.data.max()))


class Window(NamedTuple):
    """Centre and width in modality units, and which of the standard's three functions."""

    centre: float
    width: float
    function: str = "LINEAR"

    def usable(self) -> bool:
        """Tell whether the standard gives these figures a meaning."""
        least = 1.0 if self.function == "LINEAR" else 0.0
        finite = math.isfinite(self.centre) and math.isfinite(self.width)
        return finite and self.width >= least and self.width > 0

    def apply(self, values: Values) -> Values:
        """Map modality values to 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.centre) / self.width, -700, 700)
            return 1 / (1 + np.exp(exponent))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        centre, width = self.centre - 0.5, self.width - 1
        if width == 0:
            return (values > centre).astype(np.float64)
        return np.clip((values - centre) / width + 0.5, 0, 1)


class Pipeline(NamedTuple):
    """What a header says about the way from stored values to grey.

    `low` and `high`: the range that the stored bits can hold. `modality` is a LUT or slope and
    intercept. `padding`: the stored values, from and to, that fill the surround.
    """

    low: int
    high: int
    modality: Lut | tuple[float, float] | None = None
    voi: Lut | Window | None = None
    padding: tuple[int, int] | None = None
    invert: bool = False

    def table(
        self, stored: Values, present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint16], tuple[Step, ...]]:
        """Map each stored value to uint16 grey, 0 black, 65535 white, and name the steps.

        `stored`: float64 (N,), the values that can occur; `present`: bool (N,), those that do.
        """
        values, (low, high), steps = self._modality(stored)
        if isinstance(self.voi, Lut):
            grey = self.voi.apply(values) / self.voi.top()
            steps.append(Step.VOI_LUT)
        elif self.voi is not None and self.voi.usable():
            grey = self.voi.apply(values)
            steps.append(Step.VOI_LUT)  # PS3.3's module of that name has windows and tables
        else:
            # Without any VOI the full range is meant. Beyond 8 bits it is hardly ever filled
            # (12-bit detectors declare 16), and the image would come out black: use its extremes.
            if self.high - self.low > 255 and not isinstance(self.modality, Lut):  # noqa: PLR2004
                low, high = self._extremes(stored, values, present)
                steps.append(Step.MIN_MAX)
            grey = (values - low) / (high - low) if high > low else np.zeros_like(values)
        if self.invert:
            grey = 1 - grey
            steps.append(Step.INVERT)
        return np.rint(np.clip(grey, 0, 1) * WHITE).astype(np.uint16), tuple(steps)

    def _modality(self, stored: Values) -> tuple[Values, tuple[float, float], list[Step]]:
        if isinstance(self.modality, Lut):
            return self.modality.apply(stored), (0.0, self.modality.top()), [Step.MODALITY_LUT]
        slope, intercept = self.modality or (1.0, 0.0)
        if (slope, intercept) == (1.0, 0.0):
            return stored, (self.low, self.high), []
        ends = sorted((self.low * slope + intercept, self.high * slope + intercept))
        return stored * slope + intercept, (ends[0], ends[1]), [Step.MODALITY_LUT]

    def _extremes(
        self, stored: Values, values: Values, present: NDArray[np.bool_]
    ) -> tuple[float, float]:
        """Return the least and the greatest value that occurs, the surround left aside."""
        shown = present
        if self.padding is not None:
            shown = present & ((stored < self.padding[0]) | (stored > self.padding[1]))
        seen = values[shown if shown.any() else present]
        return float(seen.min()), float(seen.max())
