"""What the operator sees: log lines, metrics, traces, and errors in the client's words."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.settings import settings

if TYPE_CHECKING:
    from aws_lambda_powertools import Tracer

    from chalicelib.errors import RadgateError
    from chalicelib.ports import Monitor
    from chalicelib.services.timing import Stopwatch


@cache
def monitor(function: str) -> Monitor:
    """Return what the operator sees of a function."""
    from chalicelib.telemetry import PowertoolsMonitor

    return PowertoolsMonitor(settings().stage, function)


def begin_call(context: object) -> None:
    """Have the log's lines name this call of a function, by Lambda's context."""
    from chalicelib.telemetry import begin_call

    begin_call(context)


@cache
def tracer() -> Tracer:
    """Return what traces; only for a stage that is traced, since it takes time to import."""
    from chalicelib.telemetry import tracer

    return tracer()


def stopwatch() -> Stopwatch:
    """Return a stopwatch, whose laps are in the trace where the stage is traced."""
    from chalicelib.services.timing import Stopwatch

    if not settings().tracing:
        return Stopwatch()
    from chalicelib.telemetry import TracedStopwatch

    return TracedStopwatch(tracer())


def explain(error: RadgateError | None, request_id: str) -> dict[str, str | int | list[str]]:
    """Return an error, or None for a defect of ours, as its client sees it."""
    from chalicelib.problems import defect_problem, problem_of

    problem = defect_problem() if error is None else problem_of(error)
    return problem.document(request_id)
