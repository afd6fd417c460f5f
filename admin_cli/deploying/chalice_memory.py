"""What Chalice remembers of a stage, without what `chalice delete` is not to meet.

It fails at the first thing that is gone already, so a `destroy` that was killed in the middle of it
could never be finished.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli.deploying.absent import tolerantly
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path


def forget_gone(memory: Path, spared: Container[str]) -> bool:
    """Leave in the memory what is there and no role of `spared`; False when nothing is left.

    Raises botocore's errors.
    """
    document = json.loads(memory.read_text(encoding="utf-8"))
    document["resources"] = [
        one
        for one in document["resources"]
        if one.get("role_name") not in spared and _is_there(one)
    ]
    memory.write_text(json.dumps(document), encoding="utf-8")
    return bool(document["resources"])


def _is_there(resource: dict[str, Any]) -> bool:
    look: Callable[[], object]
    match resource["resource_type"]:
        case "iam_role":
            look = partial(boto3.client("iam").get_role, RoleName=resource["role_name"])
        case "lambda_function":
            ask = boto3.client("lambda").get_function_configuration
            look = partial(ask, FunctionName=resource["lambda_arn"])
        case "cloudwatch_event":
            look = partial(boto3.client("events").describe_rule, Name=resource["rule_name"])
        case "rest_api":
            look = partial(gateway_client().get_rest_api, restApiId=resource["rest_api_id"])
        case "domain_name":
            ask_domain = gateway_client().get_domain_name
            look = partial(ask_domain, domainName=resource["domain_name"])
        case _:
            return True
    return tolerantly(look) is not None
