"""What the operator sees of the functions outside of requests: logs, metrics, traces.

Logs are one JSON object a line, metrics lines of CloudWatch's embedded format, both by Powertools,
so that nothing is called and nothing can fail. Neither holds anything of an image's content: what
is noted are ids, codes, counts and times, and of an error its place and kind, never its text.
"""

from __future__ import annotations

import logging
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.logging.filters import SuppressFilter

from chalicelib.services.timing import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools import Tracer

    from chalicelib.ports import Unit

SERVICE = "radgate"
NAMESPACE = "Radgate"
PACKAGE = "chalicelib"
logger = Logger(service=SERVICE)


def adopt() -> None:
    """Have what our modules log by the standard library in the same form, and only once.

    Where Lambda's own handler would write it as plain text, that is silenced for it. As Powertools
    does for its own loggers, what pytest listens with is left alone.
    """
    ours = logging.getLogger(PACKAGE)
    if logger.registered_handler in ours.handlers:
        return
    ours.addHandler(logger.registered_handler)
    for handler in logging.root.handlers:
        if type(handler).__name__ != "LogCaptureHandler":
            handler.addFilter(SuppressFilter(PACKAGE))


adopt()


class PowertoolsMonitor:
    """Satisfies `ports.Monitor`. Every metric has the stage and the function among its dimensions.

    The first call of `measure` or `note` in a process also counts a cold start of the function.
    """

    def __init__(self, stage: str, function: str) -> None:
        self._dimensions = {"stage": stage, "function": function}
        self._cold = True

    def note(self, event: str, **facts: str | float | None) -> None:
        """Write a line of the log."""
        self._warm_up()
        logger.info(event, extra=facts)

    def measure(self, metric: str, value: float, unit: Unit, **dimensions: str) -> None:
        """Add a value to a metric."""
        self._warm_up()
        self._emit(metric, value, unit, dimensions)

    def defect(self, event: str, error: Exception, **facts: str | float | None) -> None:
        """Write where and of what kind an error is that is ours; never its text.

        A third-party exception may quote its input.
        """
        self._warm_up()
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        logger.error(event, extra={"kind": type(error).__name__, "where": where, **facts})
        self._emit("Defects", 1, "Count", {"kind": type(error).__name__})

    def _warm_up(self) -> None:
        if self._cold:
            self._cold = False
            self._emit("ColdStarts", 1, "Count", {})

    def _emit(self, metric: str, value: float, unit: Unit, dimensions: dict[str, str]) -> None:
        with single_metric(
            name=metric,
            unit=unit,  # type: ignore[arg-type]
            value=value,
            namespace=NAMESPACE,
            default_dimensions=dict(self._dimensions),
        ) as line:
            for name, text in dimensions.items():
                line.add_dimension(name=name, value=text)


def begin_call(context: object) -> None:
    """Have every line from here on name this call of the function, as `function_request_id`.

    By the name and the id that Lambda's own lines and Powertools use. `context`: Lambda's; without
    one, as in a test, lines name no call.
    """
    logger.append_keys(function_request_id=getattr(context, "aws_request_id", None))


def note(event: str, **facts: str | float | None) -> None:
    """Write a line of the log, for a part that several functions share; count nothing."""
    logger.info(event, extra=facts)


def tracer() -> Tracer:
    """Return what sends traces to X-Ray: our own parts and nothing by itself.

    Of boto's calls the SDK would note parameters, and of HTTP calls the URL: names of objects and
    webhooks of clients, which are in no log either. Imports the X-Ray SDK, which takes 0.2 s: only
    for a stage that is traced. Outside of Lambda, or with POWERTOOLS_TRACE_DISABLED, it is silent.
    """
    from aws_lambda_powertools import Tracer  # noqa: PLC0415

    return Tracer(service=SERVICE, auto_patch=False)


class TracedStopwatch(Stopwatch):
    """Times the parts of a request or a batch and has each in the trace, with the ids it is told.

    Of an error the trace gets the kind, never the text: a third-party exception may quote its
    input.
    """

    def __init__(self, to: Tracer) -> None:
        super().__init__()
        self._tracer = to

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the time of the block under `name`, also when it raises."""
        with self._part(name), super().lap(name):
            yield

    @contextmanager
    def about(self, what: str, **ids: str) -> Iterator[None]:
        """Have the laps of the block inside of one part of the trace, which can be found by `ids`.

        What X-Ray looks traces up by are annotations; it has them of parts only, since the segment
        itself is Lambda's.
        """
        with self._part(what):
            self.annotate(**ids)
            yield

    def annotate(self, **ids: str) -> None:
        """Add ids to the part that is open."""
        for name, text in ids.items():
            if text:
                self._tracer.put_annotation(name, text)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        failure: BaseException | None = None
        with self._tracer.provider.in_subsegment(name=f"## {name}") as opened:
            part: Any = opened  # Powertools' type of it lacks the flags
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised again where the SDK cannot see it
                failure = error
                if part is not None:
                    part.add_error_flag()
                    part.put_annotation("error", type(error).__name__)
        if failure is not None:
            raise failure
