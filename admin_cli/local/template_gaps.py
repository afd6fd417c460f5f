"""What MiniStack's CloudFormation leaves out of an API, each bridge with its reason.

Like `gaps` this patches private functions of one pinned version.
"""

# ruff: noqa: ANN401, SLF001 - private functions of an untyped module are the whole subject here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def whole_import(gateway: Any, original: Callable[..., str]) -> Callable[..., str]:
    """AWS::ApiGateway::RestApi with all that its OpenAPI body says.

    MiniStack takes routes and keys from the body, but neither the binary media types, without
    which an image arrives as text and an answer leaves as base64, nor the gateway responses.
    """

    def import_rest_api(document: dict[str, Any], data: Any = None) -> str:
        api_id = original(document, data)
        if types := document.get("x-amazon-apigateway-binary-media-types"):
            gateway._rest_apis[api_id]["binaryMediaTypes"] = list(types)
        responses = document.get("x-amazon-apigateway-gateway-responses") or {}
        for kind, response in responses.items():
            gateway._put_gateway_response(api_id, kind, response)
        return api_id

    return import_rest_api
