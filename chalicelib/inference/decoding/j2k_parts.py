"""What a JPEG 2000 codestream would cost to take apart, from its headers, before OpenJPEG does it.

A few bytes may claim millions of tiles, precincts, code-blocks or layers, and OpenJPEG makes an
object of each, whether it holds anything or not: a small file of 7000 x 7100 pixels took 1.3 GB in
code-blocks of 4 x 4, and was not done after 25 seconds in precincts of 2 x 2.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.sniff import J2K_START

if TYPE_CHECKING:
    from collections.abc import Iterator

# 50 million pixels in the usual blocks of 64 x 64 are 12,000. Each costs about 400 bytes.
_MAX_PARTS = 1_000_000
_MAX_TILES = 10_000
# Layers times precincts: what a reader goes through packet by packet. Encoders write up to 20.
_MAX_PACKETS = 2_000_000
# Coding style, of all components or of one, wherever it stands: whoever looks only where a header
# should be would be led astray by a broken length. That so many bytes of image data look like one
# with tiny blocks is a matter of one in many millions.
_STYLE = re.compile(rb"\xff[\x52\x53]\x00[\x09-\x2f]", re.DOTALL)
_MOST_LEVELS = 32
_LARGEST_PRECINCT = 15  # as a power of two


class _Style(NamedTuple):
    """Powers of two: code-block sides, and the precincts' for each resolution, lowest first."""

    levels: int
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]

    def parts(self, width: int, height: int) -> tuple[int, int]:
        """Count the precincts, and these with the code-blocks, of one component of a tile."""
        precincts = blocks = 0
        for resolution, (across, down) in enumerate(self.precincts):
            shrink = self.levels - resolution
            size = _up(width, shrink), _up(height, shrink)
            band = int(resolution > 0)
            here = _up(size[0], across) * _up(size[1], down)
            side = (
                min(self.block[0], max(0, across - band)),
                min(self.block[1], max(0, down - band)),
            )
            precincts += here
            blocks += max(here * (1 + 2 * band), _up(size[0], side[0]) * _up(size[1], side[1]))
        return precincts, precincts + blocks


def check_j2k_parts(stream: bytes) -> None:
    """Raise UnreadableImage for a codestream of more parts than any radiograph has.

    `stream`: begins with SOC and SIZ, as `sniff.j2k_frame` found them.
    """
    at = stream.find(J2K_START)
    right, bottom, left, top, wide, high, tile_left, tile_top = struct.unpack_from(
        ">8L", stream, at + 8
    )
    (components,) = struct.unpack_from(">H", stream, at + 40)
    if not (wide and high and tile_left <= left < right and tile_top <= top < bottom):
        raise UnreadableImage("The JPEG 2000 stream contradicts itself about its tiles.")
    tiles = -(-(right - tile_left) // wide) * -(-(bottom - tile_top) // high)
    tile = min(wide, right - left), min(high, bottom - top)
    if tiles > _MAX_TILES:
        raise UnreadableImage("The JPEG 2000 stream has too many tiles.")
    layers = 1
    for layers_here, style in _styles(stream, components):
        layers = max(layers, layers_here)
        precincts, parts = (n * tiles * components for n in style.parts(*tile))
        if parts > _MAX_PARTS or precincts * layers > _MAX_PACKETS:
            raise UnreadableImage("The JPEG 2000 stream has too many parts.")


def _styles(stream: bytes, components: int) -> Iterator[tuple[int, _Style]]:
    """Yield the layers (1 where they are not told) and the style of everything that looks so."""
    for found in _STYLE.finditer(stream):
        at = found.start()
        size = int.from_bytes(stream[at + 2 : at + 4], "big")
        body = stream[at + 4 : at + 2 + size]
        # COD: style, order, layers, transform. COC: component, of two bytes from 257 on, style.
        of_all = stream[at + 1] == 0x52  # noqa: PLR2004
        skip = 5 if of_all else (2 if components < 257 else 3)  # noqa: PLR2004
        if len(body) < skip + 5 or body[skip] > _MOST_LEVELS:
            continue
        layers = int.from_bytes(body[2:4], "big") if of_all else 1
        levels, across, down = body[skip : skip + 3]
        own = body[skip + 5 :][: levels + 1] if body[0 if of_all else skip - 1] & 1 else b""
        sizes = [(byte & 15, byte >> 4) for byte in own]
        sizes += [(_LARGEST_PRECINCT, _LARGEST_PRECINCT)] * (levels + 1 - len(sizes))
        yield layers, _Style(levels, ((across & 15) + 2, (down & 15) + 2), tuple(sizes))


def _up(length: int, power: int) -> int:
    """Divide by a power of two, rounding up."""
    return -(-length >> power)
