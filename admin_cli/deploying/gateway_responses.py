"""API Gateway's own refusals in the shape of ours (RFC 9457), and the stage deployed again.

The gateway answers some requests before any of our code runs: unknown key, throttle, quota, wrong
route, a body over 10 MB. `chalice deploy` replaces the API's definition and with it drops these
texts, so they are written after each deploy; they take effect with the next deployment of the
stage only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib import errors
from chalicelib.problems import Problem, defect_problem, problem_of

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.literals import GatewayResponseTypeType

_KEPT_DEPLOYMENTS = 10  # to roll back to; an API may have 300, and each deploy makes two


# API Gateway's types and what a client is told, in the words that our own code uses for it.
REFUSALS: tuple[tuple[tuple[GatewayResponseTypeType, ...], Problem], ...] = (
    (
        ("INVALID_API_KEY",),
        problem_of(errors.KeyUnknown("Send a valid key in the header x-api-key.")),
    ),
    (
        ("THROTTLED",),
        problem_of(errors.Throttled("Requests come faster than the plan allows.")),
    ),
    (
        ("QUOTA_EXCEEDED",),
        # The gateway's quota counts requests, not studies, of which /account may still show some.
        # It does not say when the period ends; an hour is polite for a day or a month.
        problem_of(
            errors.QuotaExceeded(
                "The plan's requests for this period are used up; studies may be left.", 3600
            )
        ),
    ),
    (
        ("REQUEST_TOO_LARGE",),
        problem_of(errors.PayloadTooLarge("POST /uploads gives a link for images over 4.5 MB.")),
    ),
    (
        # An unknown route: without an Authorization header the gateway calls it a missing token,
        # with one a bad signature, as it takes the request for one signed with IAM credentials.
        (
            "RESOURCE_NOT_FOUND",
            "MISSING_AUTHENTICATION_TOKEN",
            "INVALID_SIGNATURE",
            "EXPIRED_TOKEN",
        ),
        problem_of(errors.NotFound("There is no such route, or not with this method.")),
    ),
    (
        ("UNSUPPORTED_MEDIA_TYPE",),
        problem_of(errors.UnsupportedMediaType("Send a PNG, JPEG or DICOM file.")),
    ),
    (
        (
            "DEFAULT_4XX",
            "BAD_REQUEST_PARAMETERS",
            "BAD_REQUEST_BODY",
            "UNAUTHORIZED",
            "ACCESS_DENIED",
        ),
        problem_of(errors.InvalidRequest("The gateway refused it before it reached the service.")),
    ),
    (
        # No answer in the gateway's 29 seconds, or no free function: most likely one is still
        # loading its model.
        ("INTEGRATION_TIMEOUT", "INTEGRATION_FAILURE"),
        problem_of(errors.ModelUnavailable("The service did not answer in time.", 15)),
    ),
    (("DEFAULT_5XX", "API_CONFIGURATION_ERROR"), defect_problem()),
)


def headers(problem: Problem) -> dict[str, str]:
    """Response headers in API Gateway's notation: constants in single quotes."""
    headers = {
        "Content-Type": "'application/problem+json'",
        "Cache-Control": "'no-store'",
        "X-Request-Id": "context.requestId",
    }
    if problem.retry_after is not None:
        headers["Retry-After"] = f"'{problem.retry_after}'"
    return {f"gatewayresponse.header.{name}": value for name, value in headers.items()}


def apply_refusals(client: APIGatewayClient, rest_api_id: str, api_stage: str) -> str:
    """Write every refusal, deploy the stage and return the new deployment's id.

    Idempotent. Raises botocore's ClientError; the client should retry throttled calls, as API
    Gateway allows one CreateDeployment in five seconds.
    """
    for kinds, problem in REFUSALS:
        for kind in kinds:
            client.put_gateway_response(
                restApiId=rest_api_id,
                responseType=kind,
                statusCode=str(problem.status),
                responseParameters=headers(problem),
                # The gateway fills in the request's id.
                responseTemplates={"application/json": problem.body("$context.requestId")},
            )
    deployment = client.create_deployment(
        restApiId=rest_api_id, stageName=api_stage, description="with gateway responses"
    )
    _prune(client, rest_api_id)
    return deployment["id"]


def _prune(client: APIGatewayClient, rest_api_id: str) -> None:
    """Delete old deployments that no stage uses."""
    used = {stage["deploymentId"] for stage in client.get_stages(restApiId=rest_api_id)["item"]}
    items = client.get_deployments(restApiId=rest_api_id, limit=500)["items"]
    items.sort(key=lambda item: item["createdDate"], reverse=True)
    for item in items[_KEPT_DEPLOYMENTS:]:
        if item["id"] not in used:
            client.delete_deployment(restApiId=rest_api_id, deploymentId=item["id"])
