"""Hides how a heatmap becomes a picture of its own: colour where there is heat, else nothing."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from chalicelib.reports.overlay import heat_layer

if TYPE_CHECKING:
    from chalicelib.domain import Heatmap, Radiograph

LONGEST_SIDE = 1024  # pixels; a grid of some eight by eight cells holds no more


def png(radiograph: Radiograph, heatmap: Heatmap) -> bytes:
    """Return a PNG, RGBA, in the radiograph's proportions, to be laid over it at its full size.

    It holds no pixel of the radiograph: whoever has the picture alone learns nothing of the
    patient but where something was seen.
    """
    original = (radiograph.info.width, radiograph.info.height)
    scale = min(1.0, LONGEST_SIDE / max(original))
    size = (max(1, round(original[0] * scale)), max(1, round(original[1] * scale)))
    file = BytesIO()
    heat_layer(heatmap, original, size).save(file, "PNG")
    return file.getvalue()
