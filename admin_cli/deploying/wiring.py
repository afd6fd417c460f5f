"""Which queue wakes which function: event source mappings, which Chalice leaves out.

Chalice can make them, but with neither a concurrency of their own nor partial batches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation

# A role that was just made may not receive messages for some seconds.
TRIES, PAUSE = 20, 3.0
_UNDER_WAY = {"ResourceInUseException", "ResourceConflictException"}


@dataclass(frozen=True, slots=True)
class Wire:
    """One queue of the foundation and the function that it wakes.

    `batch`: messages in one call at most. `window`: seconds that SQS may wait to fill it.
    `concurrency`: calls at the same time at most; 0 for no limit of its own.
    """

    queue_arn: str
    function: str
    batch: int
    window: int
    concurrency: int

    def settings(self) -> dict[str, Any]:
        """Return what Lambda is told."""
        told: dict[str, Any] = {
            "BatchSize": self.batch,
            "MaximumBatchingWindowInSeconds": self.window,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }
        if self.concurrency:
            told["ScalingConfig"] = {"MaximumConcurrency": self.concurrency}
        return told


def wires(foundation: Foundation, settings: StageSettings) -> tuple[Wire, ...]:
    """Return all wires of a stage.

    The two queues of jobs have workers of their own: however many studies wait in the second one,
    the first keeps its share. Small batches there, since somebody waits; full ones here.
    """
    workers = settings.workers
    return (
        Wire(foundation.QueueArn, "worker", batch=4, window=0, concurrency=workers.first),
        Wire(foundation.BulkQueueArn, "worker", batch=10, window=1, concurrency=workers.bulk),
        # One at a time: each may wait for a slow server for half a minute, and is cut off at 60 s.
        Wire(foundation.DeliveryQueueArn, "deliver", batch=1, window=0, concurrency=10),
    )


def connect(
    client: LambdaClient,
    functions: Mapping[str, str],
    wanted: Iterable[Wire],
    tell: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Make every wire as it should be; one that is right, or was paused by hand, is left so.

    `functions`: names in config.json and on AWS; a wire to a function that is not there yet is
    left out. Raises CliError, and botocore's errors.
    """
    for wire in wanted:
        if wire.function not in functions:
            continue
        name, queue = functions[wire.function], wire.queue_arn.rpartition(":")[2]
        found = next(mappings(client, name, wire.queue_arn), None)
        if found is None:
            tell(f"wiring queue {queue} to function {name}")
            whole = {"EventSourceArn": wire.queue_arn, "FunctionName": name, **wire.settings()}
            _patiently(partial(client.create_event_source_mapping, **whole), pause)
        elif _differs(found, wire):
            tell(f"changing the wire of queue {queue} to function {name}")
            changed = {"UUID": found.get("UUID"), **wire.settings()}
            _patiently(partial(client.update_event_source_mapping, **changed), pause)


def disconnect(client: LambdaClient, functions: Mapping[str, str]) -> None:
    """Remove every wire of these functions: Chalice, which deletes them, knows of none."""
    for name in functions.values():
        for found in mappings(client, name):
            client.delete_event_source_mapping(UUID=str(found.get("UUID")))


def unwired(
    client: LambdaClient, functions: Mapping[str, str], wanted: Iterable[Wire]
) -> Iterator[Wire]:
    """Yield the wires that are missing or are not as they should be."""
    for wire in wanted:
        if wire.function in functions:
            found = next(mappings(client, functions[wire.function], wire.queue_arn), None)
            if found is None or _differs(found, wire):
                yield wire


def mappings(
    client: LambdaClient, function: str, queue_arn: str | None = None
) -> Iterator[EventSourceMappingConfigurationTypeDef]:
    """Yield the wires of a function, of one queue or of all; none that is going already."""
    for page in client.get_paginator("list_event_source_mappings").paginate(FunctionName=function):
        for found in page["EventSourceMappings"]:
            ours = queue_arn is None or found.get("EventSourceArn") == queue_arn
            if ours and found.get("State") != "Deleting":
                yield found


def _differs(found: EventSourceMappingConfigurationTypeDef, wire: Wire) -> bool:
    known: Mapping[str, Any] = dict(found)
    return any(known.get(name) != value for name, value in wire.settings().items())


def _patiently(change: Callable[[], object], pause: Callable[[float], None]) -> None:
    """Make a change that is refused while a role spreads or another change is under way."""
    for _ in range(TRIES):
        try:
            change()
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            fresh_role = code == "InvalidParameterValueException" and "role" in str(error)
            if not fresh_role and code not in _UNDER_WAY:
                raise
            refused = error
            pause(PAUSE)
        else:
            return
    raise CliError(f"a queue could not be wired to its function: {refused}") from refused
