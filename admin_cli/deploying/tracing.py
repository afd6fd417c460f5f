"""X-Ray on the functions: Chalice turns it on, but never off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.literals import TracingModeType


def trace(
    client: LambdaClient, functions: Iterable[str], tell: Callable[[str], None], *, on: bool
) -> None:
    """Have each function traced, or not, as it is wanted; one that is right is left alone.

    `functions`: as AWS names them. Raises botocore's errors.
    """
    for name in wrongly_traced(client, functions, on=on):
        tell(f"tracing of function {name} {'on' if on else 'off'}")
        client.update_function_configuration(FunctionName=name, TracingConfig={"Mode": _mode(on)})
        # The next change of a function is refused while one is under way.
        client.get_waiter("function_updated_v2").wait(FunctionName=name)


def wrongly_traced(client: LambdaClient, functions: Iterable[str], *, on: bool) -> Iterator[str]:
    """Yield the functions that are traced and should not be, or the other way round."""
    for name in functions:
        found = client.get_function_configuration(FunctionName=name)
        if found.get("TracingConfig", {}).get("Mode", "PassThrough") != _mode(on):
            yield name


def _mode(on: bool) -> TracingModeType:
    return "Active" if on else "PassThrough"
