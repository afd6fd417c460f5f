"""What a worker has in hand of a batch: studies that are begun and wait for the forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from chalicelib.domain import Client, Job, Quality, Radiograph


@dataclass(frozen=True, slots=True)
class Opened:
    """A study that this worker has begun, whose image is one that we answer.

    `number`: which message of the batch it is.
    """

    number: int
    job: Job
    client: Client
    radiograph: Radiograph
    quality: Quality


@dataclass
class Batch:
    """What becomes of each message: after how long it comes again, or None when it is done with.

    `wave`: the opened studies that wait for the forward pass.
    """

    again: list[timedelta | None]
    wave: list[Opened] = field(default_factory=list)

    def held(self) -> int:
        """Return the bytes of pixels in the wave."""
        return sum(len(one.radiograph.pixels) for one in self.wave)
