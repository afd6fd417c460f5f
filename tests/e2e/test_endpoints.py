"""Private, regional and edge endpoints and custom domains, deployed to the local AWS.

That knows an API's type, endpoints and resource policy, domains and their mappings, and leads a
call by its host name. It has no CloudFront and no certificates, and no call ever comes through an
endpoint of a network: what such a call would be answered cannot be seen here.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from admin_cli.deploying import deployment
from admin_cli.foundation import apply_foundation
from tests.local_aws import own_local_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from admin_cli.deploying.deployment_record import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ENDPOINT = "vpce-0123456789abcdef0"
CERTIFICATE = "arn:aws:acm:{}:000000000000:certificate/0f0e0d0c"


def stage(endpoint: str, **fields: str) -> str:
    """Return the settings of a stage as text; each field is TOML."""
    rest = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return f'[local]\nnetwork = "none"\nendpoint = "{endpoint}"\n{rest}'


def domain(name: str, region: str, path: str) -> str:
    certificate = CERTIFICATE.format(region)
    return f'{{ name = "{name}", certificate_arn = "{certificate}", path = "{path}" }}'


@pytest.fixture(scope="module")
def deploys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Deployment]]:
    """Yield what deploys with the given settings, on a local AWS of its own."""
    home = tmp_path_factory.mktemp("endpoints") / "home"
    stages = home.parent / "stages.toml"
    with own_local_aws(home, RADGATE_STAGES=str(stages), RADGATE_HOME=str(home)):

        def deploy(text: str) -> Deployment:
            stages.write_text(text, encoding="utf-8")
            found = apply_foundation("local")
            return deployment.deploy("local", found, home, lambda _text: None, force=False)

        yield deploy


def api(made: Deployment) -> dict[str, Any]:
    return dict(boto3.client("apigateway").get_rest_api(restApiId=made.rest_api_id))


def ask(made: Deployment, host: str, path: str) -> httpx.Response:
    """Call the API by its own name, or by a host name of the operator's."""
    aws = os.environ["AWS_ENDPOINT_URL"]
    if not host:
        own = f"{aws}/restapis/{made.rest_api_id}/{made.api_stage}/_user_request_{path}"
        return httpx.get(own, timeout=60)
    return httpx.get(f"{aws}{path}", headers={"host": host}, timeout=60)


def answers(made: Deployment, host: str, path: str) -> None:
    answer = ask(made, host, path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["openapi"].startswith("3.1"), answer.text


def test_a_private_api_answers_nobody_who_comes_another_way(
    deploys: Callable[[str], Deployment],
) -> None:
    made = deploys(stage("private", vpc_endpoints=f'["{ENDPOINT}"]'))
    found = api(made)
    assert found["endpointConfiguration"]["types"] == ["PRIVATE"]
    assert found["endpointConfiguration"]["vpcEndpointIds"] == [ENDPOINT]
    policy = json.loads(found["policy"].encode().decode("unicode_escape"))
    [statement] = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceVpce": [ENDPOINT]}}
    refused = ask(made, "", "/health")
    # ACCESS_DENIED, in our words: no function has seen it.
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "before it reached the service" in refused.json()["detail"]


def test_a_regional_api_answers_by_its_own_domain(deploys: Callable[[str], Deployment]) -> None:
    made = deploys(stage("regional", domain=domain("api.example.org", "eu-central-1", "xray")))
    assert api(made)["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert not api(made).get("policy")
    gateway = boto3.client("apigateway")
    name = gateway.get_domain_name(domainName="api.example.org")
    assert name["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert name["regionalCertificateArn"] == CERTIFICATE.format("eu-central-1")
    assert name["securityPolicy"] == "TLS_1_2"
    [mapping] = gateway.get_base_path_mappings(domainName="api.example.org")["items"]
    wanted = {"basePath": "xray", "restApiId": made.rest_api_id, "stage": "v1"}
    assert mapping == wanted
    answers(made, "", "/openapi.json")
    answers(made, "api.example.org", "/xray/openapi.json")


def test_an_edge_api_has_its_certificate_where_cloudfront_looks(
    deploys: Callable[[str], Deployment],
) -> None:
    made = deploys(stage("edge", domain=domain("edge.example.org", "us-east-1", "(none)")))
    assert api(made)["endpointConfiguration"]["types"] == ["EDGE"]
    gateway = boto3.client("apigateway")
    name = gateway.get_domain_name(domainName="edge.example.org")
    assert name["endpointConfiguration"]["types"] == ["EDGE"]
    assert name["certificateArn"] == CERTIFICATE.format("us-east-1")
    assert not name.get("regionalCertificateArn")
    answers(made, "edge.example.org", "/openapi.json")
    # Chalice leaves the name before, but it leads nowhere any more.
    assert gateway.get_base_path_mappings(domainName="api.example.org")["items"] == []
