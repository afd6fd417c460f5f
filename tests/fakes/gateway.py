"""API Gateway in a dozen lines: REST events in, answers out, straight to the app."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.conformance import conforms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chalicelib.http import Api


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway would send back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class FakeGateway:
    """Calls the app as API Gateway does with binary types ``*/*``: bodies are base64.

    It checks no key, as the real one may for some seconds after a key was taken back.
    `lambda_context`: what Lambda tells the function of each call.
    """

    app: Api
    key: str | None = None
    lambda_context: object = None

    def get(self, route: str, query: Mapping[str, str] | None = None, **path: str) -> Answer:
        return self.call("GET", route, query=query, path=path)

    def call(
        self,
        method: str,
        route: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        path: Mapping[str, str] | None = None,
        context: Mapping[str, object] | None = None,
    ) -> Answer:
        """Return the answer; `context` adds to what the gateway says of a request."""
        sent = dict(headers or {})
        if self.key is not None:
            sent["X-Api-Key"] = self.key
        event = {
            "resource": route,
            "headers": sent,
            "multiValueQueryStringParameters": {k: [v] for k, v in query.items()}
            if query
            else None,
            "pathParameters": dict(path or {}),
            "stageVariables": None,
            "isBase64Encoded": True,
            "body": base64.b64encode(body).decode() if body else None,
            "requestContext": {
                "resourcePath": route,
                "httpMethod": method,
                "requestId": "11111111-2222-4333-8444-555555555555",
                "stage": "v1",
                "identity": {"sourceIp": "127.0.0.1"},
                **(context or {}),
            },
        }
        raw = self.app(event, self.lambda_context)
        answer = Answer(
            status=raw["statusCode"],
            headers={name.lower(): value for name, value in raw["headers"].items()},
            body=base64.b64decode(raw["body"]),
        )
        # So every answer that any test sees is one that the OpenAPI document tells of.
        conforms(method, route, answer.status, answer.headers, answer.body)
        return answer
