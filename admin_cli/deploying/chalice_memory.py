"""What Chalice remembers of a stage, without what `chalice delete` is not to meet.

It fails at the first thing that is gone already, so a `destroy` that was killed in the middle of it
could never be finished. It takes a custom domain away though another stage answers there, under
another path.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.chalice_runner import rest_api_of
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    from mypy_boto3_apigateway.type_defs import BasePathMappingTypeDef


def forget_gone(memory: Path, spared: Container[str]) -> bool:
    """Leave in the memory what is there and no role of `spared`; False when nothing is left.

    A domain where another API answers is left out as well, once ours does no more. Raises
    botocore's errors.
    """
    text = memory.read_text(encoding="utf-8")
    document, api = json.loads(text), rest_api_of(text)
    document["resources"] = [
        one
        for one in document["resources"]
        if one.get("role_name") not in spared and _is_there(one) and not _left_to_others(one, api)
    ]
    memory.write_text(json.dumps(document), encoding="utf-8")
    return bool(document["resources"])


def is_shared(domain: str, api: str | None) -> bool:
    """Tell whether another API than this one answers at a domain. Raises botocore's errors."""
    return any(one.get("restApiId") != api for one in _mappings(domain))


def _left_to_others(resource: dict[str, Any], api: str | None) -> bool:
    """Take our own paths from a domain that others use too; False for one that is ours alone."""
    domain = resource.get("domain_name")
    if resource["resource_type"] != "domain_name" or not is_shared(str(domain), api):
        return False
    for one in _mappings(str(domain)):
        if one.get("restApiId") == api:
            path = one.get("basePath", "(none)")
            remove = gateway_client().delete_base_path_mapping
            tolerantly(partial(remove, domainName=str(domain), basePath=path))
    return True


def _mappings(domain: str) -> list[BasePathMappingTypeDef]:
    pages = gateway_client().get_paginator("get_base_path_mappings").paginate(domainName=domain)
    found = tolerantly(lambda: [one for page in pages for one in page.get("items", [])])
    return found or []


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
