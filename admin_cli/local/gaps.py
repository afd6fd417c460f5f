"""What MiniStack 1.5.33 lacks and Radgate needs, each bridge with its reason.

Everything here patches private functions of one pinned version (``ministack==1.5.33``); the tests
in ``tests/integration/test_emulator.py`` fail when a newer one moves them. Nothing of this reaches
``chalicelib``: the product runs the same code on AWS and here.
"""

# ruff: noqa: ANN401, SLF001 - private functions of an untyped module are the whole subject here

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib import import_module
from typing import Any

from admin_cli.local.concurrency import limit_processes, limit_time
from admin_cli.local.counting import Usage
from admin_cli.local.function_code import share_code
from admin_cli.local.template_gaps import whole_import

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, Mapping[str, str], bytes, Mapping[str, Any]], Awaitable[Response]]
Json = dict[str, Any]


def bridge() -> None:
    """Patch the imported MiniStack in place. Call once, after ``ministack.app`` is imported."""
    gateway: Any = import_module("ministack.services.apigateway_v1")
    usage = Usage(gateway)
    usage.bridge()
    gateway.handle_request = control_plane(gateway, gateway.handle_request, usage)
    gateway._media_type_matches = absent_type_is_binary(gateway._media_type_matches)
    gateway._build_lambda_event_v1 = event_with_key(gateway, gateway._build_lambda_event_v1)
    gateway._import_rest_api = whole_import(gateway, gateway._import_rest_api)
    # A new function counts as ready after half a second, but the waiter of `chalice deploy` looks
    # at once and then every five seconds: three waits a deploy for nothing.
    functions: Any = import_module("ministack.services.lambda_svc")
    functions._LAMBDA_STATE_TRANSITION_DELAY = 0.0
    limit_processes(functions)
    limit_time(gateway)
    steady_queues(import_module("ministack.services.sqs"))
    share_code(import_module("ministack.core.lambda_runtime"))


def steady_queues(queues: Any) -> None:
    """Remember queues by an address that stays the same when the next start takes another port.

    They are kept by URL, port and all: after a start on another port the event source mappings
    looked for queues at addresses that no queue had, and messages were never delivered. What
    callers are told is still the address by which they came.
    """
    queues.DEFAULT_PORT = "4566"
    queues._CANONICAL_NETLOC = f"{queues.DEFAULT_HOST}:{queues.DEFAULT_PORT}"
    queues._HOST_EXPLICIT = False


def control_plane(gateway: Any, original: Handler, usage: Usage) -> Handler:
    """API Gateway's control plane with the missing calls added and broken patches mended."""

    async def handle(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Response:
        match method, path.strip("/").split("/"):
            # ImportRestApi and PutRestApi: `chalice deploy` makes and updates the API with these
            # two. MiniStack reads the first as CreateRestApi (an empty API, reported as success)
            # and does not know the second.
            case "POST", ["restapis"] if gateway._qp(query, "mode") == "import":
                return import_api(gateway, _json(body), _endpoint_type(gateway, query))
            case "GET", ["usageplans", plan_id, "usage"]:
                return usage.answer(plan_id, query)
            case "PUT", ["restapis", api_id]:
                return put_api(gateway, api_id, _json(body))
            case "PATCH", ["restapis", _]:
                body = _patched(body, _api_patch)
            case "PATCH", ["apikeys", _]:
                body = _patched(body, _key_patch)
            # CreateApiKey without `enabled` makes a disabled key on AWS, an enabled one here: a
            # key that works locally and is refused in production.
            case "POST", ["apikeys"]:
                body = json.dumps({"enabled": False, **_json(body)}).encode()
            case "PATCH", ["usageplans", plan_id]:
                body = _patched(body, lambda patch: _plan_patch(gateway, plan_id, patch))
            case _:
                pass
        return await original(method, path, headers, body, query)

    return handle


def import_api(gateway: Any, document: Json, endpoint_type: str) -> Response:
    """ImportRestApi: a new API from an OpenAPI document."""
    _status, _headers, created = gateway._create_rest_api(
        {
            "name": (document.get("info") or {}).get("title") or "unnamed",
            "endpointConfiguration": {"types": [endpoint_type]},
        }
    )
    api_id = json.loads(created)["id"]
    response = put_api(gateway, api_id, document)
    if (
        response[0] != HTTPStatus.OK
    ):  # as on AWS, a document that cannot be read leaves no API behind
        gateway._delete_rest_api(api_id)
        return response
    return HTTPStatus.CREATED, response[1], response[2]


def put_api(gateway: Any, api_id: str, document: Json) -> Response:
    """PutRestApi with ``mode=overwrite``: same API id, everything else from the document.

    Like AWS it drops the gateway responses; unlike AWS the new routes are live before the stage
    is deployed again, because MiniStack keeps no snapshot of resources with a deployment.
    """
    api = gateway._rest_apis.get(api_id)
    if api is None:
        return _error(gateway, "NotFoundException", "Invalid API identifier specified", 404)
    if not isinstance(document.get("paths"), dict):
        return _error(gateway, "BadRequestException", "Invalid OpenAPI input.", 400)
    stores = (gateway._resources, gateway._authorizers_v1, gateway._gateway_responses)
    saved = [copy.deepcopy(store.get(api_id, {})) for store in stores]
    root = next(r for r in gateway._resources[api_id].values() if r["path"] == "/")
    gateway._resources[api_id] = {root["id"]: {**root, "resourceMethods": {}}}
    gateway._authorizers_v1[api_id] = {}
    gateway._gateway_responses[api_id] = {}
    try:
        schemes = gateway._import_security_schemes(api_id, document)
        for path, item in document["paths"].items():
            gateway._import_path_item(api_id, path, item, schemes, document.get("security"))
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        for store, value in zip(stores, saved, strict=True):
            store[api_id] = value
        return _error(gateway, "BadRequestException", f"Invalid OpenAPI input: {error!r}", 400)
    info = document.get("info") or {}
    api["name"] = info.get("title") or api["name"]
    api["version"] = info.get("version", "")
    api["binaryMediaTypes"] = document.get("x-amazon-apigateway-binary-media-types") or []
    api["policy"] = document.get("x-amazon-apigateway-policy")
    # Of a private API, what it is reached through.
    within = document.get("x-amazon-apigateway-endpoint-configuration") or {}
    api["endpointConfiguration"] = {**(api.get("endpointConfiguration") or {}), **within}
    response: Response = gateway._v1_response(gateway._rest_api_view(api))
    return response


def absent_type_is_binary(original: Callable[[str, list[str]], bool]) -> Callable[..., bool]:
    """``*/*`` also matches a body without a content type.

    API Gateway reads a missing Content-Type as application/json, which ``*/*`` makes binary;
    MiniStack reads it as text and mangles the image that ``curl --upload-file`` sends. The same
    holds for an absent Accept and the response.
    """

    def matches(media_type: str | None, binary: list[str] | None) -> bool:
        return "*/*" in (binary or []) or original(media_type or "", binary or [])

    return matches


def event_with_key(gateway: Any, original: Callable[..., Json]) -> Callable[..., Json]:
    """``requestContext.identity`` names the key that the gateway accepted, as on AWS.

    MiniStack checks the key and then leaves ``apiKey`` and ``apiKeyId`` out of the event.
    """

    def build(*args: Any, **kwargs: Any) -> Json:
        event = original(*args, **kwargs)
        key = gateway._resolve_api_key(gateway._api_key_from_request(event["headers"]))
        if key is not None:
            event["requestContext"]["identity"].update(apiKey=key["value"], apiKeyId=key["id"])
        return event

    return build


def _api_patch(patch: Json) -> Json | None:
    """UpdateRestApi as Chalice sends it, put in the form that MiniStack stores correctly."""
    # Chalice sends an empty minimumCompressionSize for "no compression"; stored, it would come
    # back as a string where botocore expects a number.
    if patch.get("value") == "":
        return None
    # `/endpointConfiguration/types/EDGE` replaces one entry of a list; MiniStack's patch would
    # turn the list into a map.
    if patch.get("path", "").startswith("/endpointConfiguration/types/"):
        return {**patch, "path": "/endpointConfiguration/types", "value": [patch.get("value")]}
    return patch


def _key_patch(patch: Json) -> Json | None:
    """UpdateApiKey: ``enabled`` arrives as a string, and the string "false" would be true."""
    if patch.get("path") == "/enabled":
        return {**patch, "value": str(patch.get("value")).lower() == "true"}
    return patch


def _plan_patch(gateway: Any, plan_id: str, patch: Json) -> Json | None:
    """UpdateUsagePlan: adding or removing a stage; the generic patch overwrites the whole list."""
    if patch.get("path") != "/apiStages":
        return patch
    api_id, _, stage = str(patch.get("value")).partition(":")
    entry = {"apiId": api_id, "stage": stage}
    plan = gateway._usage_plans.get(plan_id) or {}
    others = [
        kept
        for kept in plan.get("apiStages") or []
        if (kept.get("apiId"), kept.get("stage")) != (api_id, stage)
    ]
    value = [*others, entry] if patch.get("op") == "add" else others
    return {"op": "replace", "path": "/apiStages", "value": value}


def _patched(body: bytes, mend: Callable[[Json], Json | None]) -> bytes:
    document = _json(body)
    operations = [mend(patch) for patch in document.get("patchOperations") or []]
    return json.dumps({"patchOperations": [op for op in operations if op is not None]}).encode()


def _json(body: bytes) -> Json:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _endpoint_type(gateway: Any, query: Mapping[str, Any]) -> str:
    return str(gateway._qp(query, "endpointConfigurationTypes") or "EDGE")


def _error(gateway: Any, code: str, message: str, status: int) -> Response:
    response: Response = gateway._v1_error(code, message, status)
    return response
