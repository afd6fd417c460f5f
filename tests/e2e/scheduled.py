"""What the schedule sends to the sweeper once a minute."""

from __future__ import annotations

from typing import Any

SCHEDULED: dict[str, Any] = {
    "version": "0",
    "id": "e",
    "account": "000000000000",
    "region": "eu-central-1",
    "detail": {},
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2026-01-01T00:00:00Z",
    "resources": [],
}
