"""Hides how SQS hands notices to the function `deliver`, each on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chalicelib.domain import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chalicelib.ports import Monitor


@dataclass(frozen=True, slots=True)
class SqsNotices:
    """Takes an event of the queue of deliveries apart."""

    monitor: Monitor

    def handle(
        self, event: Mapping[str, Any], deliver: Callable[[Notice], object]
    ) -> dict[str, list[dict[str, str]]]:
        """Have `deliver` called for each notice; return the answer that SQS expects.

        What fails comes again when the queue's visibility timeout is over. What cannot be read is
        dropped: nobody else can read it either, and the table remembers what is to be told.
        """
        failed: list[str] = []
        for record in event["Records"]:
            try:
                notice = Notice.model_validate_json(record["body"], extra="ignore")
            except ValidationError as error:
                self.monitor.defect("a notice that cannot be read", error)
                continue
            try:
                deliver(notice)
            except Exception as error:  # noqa: BLE001 - it is reported, and others go on
                # It only points: which study it tells of, the webhook's log knows by its id.
                self.monitor.defect(
                    "delivery",
                    error,
                    event_id=notice.event_id,
                    client=notice.client_id,
                    channel=notice.channel,
                )
                failed.append(str(record["messageId"]))
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
