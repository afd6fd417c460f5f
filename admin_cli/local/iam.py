"""Permissions on the local AWS: MiniStack's enforcement, with the condition keys that it lacks.

With enforcement every function runs under its own role, and what a policy does not allow is
refused. `local up` and `make demo` have it on; `RADGATE_EMULATOR_AUTH`, 0 or 1, decides otherwise,
also for an emulator that is started by itself, where it is off as MiniStack's is. Like
`emulator_gaps` this patches private functions of one pinned version.
"""

# ruff: noqa: ANN401, SLF001 - private functions of an untyped module are the whole subject here

from __future__ import annotations

import json
import re
from email.utils import parseaddr
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SWITCH = "RADGATE_EMULATOR_AUTH"
_MAIL = "/v2/email/outbound-emails"
# The partition keys of the table and of its index.
_PARTITIONS = ("pk", "gsi1pk")
_EQUAL = re.compile(r"(#?\w+)\s*=\s*(:\w+)")
Json = dict[str, Any]


def bridge_conditions() -> None:
    """Patch the imported MiniStack in place. Call once, after ``ministack.app`` is imported."""
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    evaluator._resolve_condition_key = resolver(evaluator._resolve_condition_key)
    actions: Any = import_module("ministack.core.iam_actions")
    actions.dynamodb_service_context = with_leading_keys(actions.dynamodb_service_context)
    app: Any = import_module("ministack.app")
    app._enforce_ses_v2 = of_a_mail(app._enforce_ses_v2, app)


def resolver(original: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Condition keys as AWS gives them, where MiniStack gives something else or nothing."""

    def resolve(key: str, context: Any) -> Any:
        match key.lower():
            # Of a session AWS names the role, MiniStack the session.
            case "aws:principalarn":
                return role_of(context.principal_arn)
            # AWS is reached by TLS alone; the emulator speaks plain HTTP on 127.0.0.1, and a policy
            # that demands TLS would refuse everything.
            case "aws:securetransport":
                return "true"
            case "s3:tlsversion":
                return "1.3"
            case _:
                return original(key, context)

    return resolve


def role_of(principal_arn: str) -> str:
    """Return the role of an assumed role's session, or the principal as it is."""
    found = re.fullmatch(r"arn:([\w-]+):sts::(\d{12}):assumed-role/([^/]+)/[^/]+", principal_arn)
    return "arn:{}:iam::{}:role/{}".format(*found.groups()) if found else principal_arn


def with_leading_keys(original: Callable[[bytes], Json]) -> Callable[[bytes], Json]:
    """The condition key ``dynamodb:LeadingKeys``: which partitions a request names."""

    def context(body: bytes) -> Json:
        found = original(body)
        try:
            request = json.loads(body or b"{}")
        except (ValueError, UnicodeDecodeError):
            return found
        keys = sorted(set(leading_keys(request))) if isinstance(request, dict) else []
        return {**found, "dynamodb:LeadingKeys": keys} if keys else found

    return context


def of_a_mail(original: Callable[..., Any], app: Any) -> Callable[..., Any]:
    """A mail is sent as an identity, from an address, by a configuration set; MiniStack sees none.

    AWS asks for a right to each of the two resources, with ``ses:FromAddress`` in the context.
    """

    def enforce(method: str, path: str, *request: Any) -> Any:
        if not app.AUTH or (method, path.rstrip("/")) != ("POST", _MAIL):
            return original(method, path, *request)
        headers, body, query, number = request
        account = import_module("ministack.core.responses").get_account_id()
        owner = f"arn:aws:ses:{app.extract_region(headers, query)}:{account}"
        mail: Json = json.loads(body or b"{}")
        address = parseaddr(str(mail.get("FromEmailAddress", "")))[1]
        resources = [f"{owner}:identity/{address.rpartition('@')[2]}"]
        if name := mail.get("ConfigurationSetName"):
            resources.append(f"{owner}:configuration-set/{name}")
        checks = (
            app._enforce_data_plane(
                "sesv2",
                "ses:SendEmail",
                headers,
                query,
                number,
                resource_arn=resource,
                named_resource=resource,
                service_context={"ses:FromAddress": address},
            )
            for resource in resources
        )
        return next((denied for denied in checks if denied), None)

    return enforce


def leading_keys(request: Json) -> Iterator[str]:
    """Yield the partition keys of a request for items, of every part of a transaction or batch."""
    yield from _of_item(request.get("Key") or request.get("Item") or {})
    if expression := request.get("KeyConditionExpression"):
        names = request.get("ExpressionAttributeNames") or {}
        values = request.get("ExpressionAttributeValues") or {}
        for name, value in _EQUAL.findall(expression):
            if names.get(name, name) in _PARTITIONS:
                yield from _text(values.get(value))
    for part in request.get("TransactItems") or []:
        for detail in part.values():
            yield from leading_keys(detail)
    for table in (request.get("RequestItems") or {}).values():
        entries = table.get("Keys", []) if isinstance(table, dict) else table
        for entry in entries:
            write: Json = next(iter(entry.values()), {}) if isinstance(table, list) else {}
            yield from _of_item(write.get("Key") or write.get("Item") or entry)


def _of_item(item: Json) -> Iterator[str]:
    yield from _text(item.get(_PARTITIONS[0]))


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(value.get("S"), str):
        yield value["S"]
