"""The pack's golden input: a drawn chest, because no image of the data may be shipped."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT = 176, 160


def phantom() -> bytes:
    """Return a binary PGM of 8 bits: a bright body, two dark lungs, a heart, ribs, an apex.

    It is not square and not of the network's size, so that framing is proven as well.
    """
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    u, v = x / WIDTH - 0.5, y / HEIGHT - 0.5
    image = 40 + 170 * np.exp(-((u / 0.42) ** 6) - ((v / 0.62) ** 8))
    for side in (-1, 1):
        lung = ((u - side * 0.2) / 0.15) ** 2 + ((v + 0.05) / 0.33) ** 2
        image -= 120 / (1 + np.exp(12 * (lung - 1)))
    image += 18 * np.sin(v * 60 + 6 * u * u) * np.exp(-((u / 0.36) ** 4))
    heart = ((u - 0.06) / 0.17) ** 2 + ((v - 0.12) / 0.15) ** 2
    image += 95 / (1 + np.exp(10 * (heart - 1)))
    image += 40 * np.exp(-((u / 0.05) ** 2))
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    header = f"P5\n{WIDTH} {HEIGHT}\n255\n".encode()
    return header + bytes(pixels.tobytes())
