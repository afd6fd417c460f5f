"""The emitted templates of real stages, with the whole app and its packages, before cfn-lint.

Where this Python is too old for Lambda's packages, those of stage local are in the zip: the
template does not depend on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.deploying.emit import emit
from admin_cli.deploying.lambda_packages import OLDEST_ON_AWS, lambda_packages
from admin_cli.deploying.stage_config import ON_EFS
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.tenants.catalogue import load_plans
from tests.fakes.values import a_client
from tests.unit.reach import handlers

if TYPE_CHECKING:
    from chalicelib.domain import Client

# Each is packaged by Chalice and read by cfn-lint: some 20 seconds on a machine of two cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CERTIFICATE = "arn:aws:acm:{}:111122223333:certificate/0f0e0d0c"
NEAR_THE_EDGE = CERTIFICATE.format("us-east-1")
STAGES = {
    "prod": f"""
[prod]
api_stage = "prod"
network = "new"
mail_domain = "radgate.example.org"
alarm_email = "operators@example.org"
budget_dollars = 800
xray = true
provisioned_concurrency = 5
warm_every_minutes = 5
domain = {{ name = "api.example.org", certificate_arn = "{CERTIFICATE.format("eu-central-1")}" }}
""",
    "dev": """
[dev]
api_stage = "dev"
network = "existing"
vpc_id = "vpc-0123456789abcdef0"
subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
endpoint = "private"
vpc_endpoints = ["vpce-0123456789abcdef0"]
warm_every_minutes = 1
""",
    "local": """
[local]
network = "new"
log_days = 7
provisioned_concurrency = 1
warm_every_minutes = 5
""",
    "edge": f"""
[prod]
api_stage = "v1"
endpoint = "edge"
domain = {{ name = "api.example.org", path = "x", certificate_arn = "{NEAR_THE_EDGE}" }}
""",
}


@dataclass(frozen=True)
class Emitted:
    """A stage's settings by name, its template and its code."""

    name: str
    template: dict[str, Any]
    path: Path
    code: Path

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the properties of all resources of a kind."""
        found = self.template["Resources"].values()
        return [dict(one.get("Properties", {})) for one in found if one["Type"] == kind]


@pytest.fixture(scope="module")
def clients() -> list[Client]:
    return [a_client(f"client-{name}", plan=plan) for name, plan in load_plans().items()]


@pytest.fixture(scope="module")
def all_emitted(
    tmp_path_factory: pytest.TempPathFactory, clients: list[Client]
) -> dict[str, Emitted]:
    folder = tmp_path_factory.mktemp("emitted")
    own = sys.version_info >= OLDEST_ON_AWS
    found = {}
    for name, settings in STAGES.items():
        (folder / "stages.toml").write_text(settings, encoding="utf-8")
        stage = "prod" if name == "edge" else name
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RADGATE_STAGES", str(folder / "stages.toml"))
            path, code, _notes = emit(
                stage,
                stage_settings(stage),
                folder / "home",  # one for all, where Chalice finds the code packed already
                folder / name,
                clients=clients,
                packages=None if own else lambda_packages("local"),
            )
        found[name] = Emitted(name, json.loads(path.read_text(encoding="utf-8")), path, code)
    return found


@pytest.fixture(params=STAGES)
def emitted(request: pytest.FixtureRequest, all_emitted: dict[str, Emitted]) -> Emitted:
    return all_emitted[request.param]


def test_cfn_lint_finds_nothing(all_emitted: dict[str, Emitted]) -> None:
    program = Path(sysconfig.get_path("scripts")) / "cfn-lint"
    paths = [one.path for one in all_emitted.values()]  # at once: most of its time is its start
    done = subprocess.run([program, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_whole_app_is_in_it(emitted: Emitted, clients: list[Client]) -> None:
    functions = emitted.of("AWS::Serverless::Function")
    assert len(functions) == len(handlers())
    mounted = [one for one in functions if "FileSystemConfigs" in one]
    assert len(mounted) == len(ON_EFS)
    assert all(one["VpcConfig"]["SubnetIds"] for one in mounted)
    [api] = emitted.of("AWS::Serverless::Api")
    assert {"/xray", "/studies/{study_id}", "/uploads"} <= set(api["DefinitionBody"]["paths"])
    assert len(emitted.of("AWS::ApiGateway::UsagePlan")) == len(clients)
    assert len(emitted.of("AWS::Lambda::EventSourceMapping")) == 3
    with zipfile.ZipFile(emitted.code) as archive:
        names = set(archive.namelist())
    assert {"app.py", "chalicelib/errors.py", "pydantic/__init__.py"} <= names
    assert not any(name.startswith(("torch/", "numpy/", "admin_cli/")) for name in names)


def test_it_stays_within_the_limits_of_cloudformation(emitted: Emitted) -> None:
    assert emitted.path.stat().st_size < 1_000_000
    # SAM makes more of them: permissions, deployments and stages.
    assert len(emitted.template["Resources"]) < 400
    assert emitted.code.stat().st_size < 50_000_000


def test_stage_endpoint_and_domain_are_those_of_the_settings(emitted: Emitted) -> None:
    [api] = emitted.of("AWS::Serverless::Api")
    body = api["DefinitionBody"]
    wanted = {
        "prod": ("prod", "REGIONAL"),
        "dev": ("dev", "PRIVATE"),
        "local": ("v1", "REGIONAL"),
        "edge": ("v1", "EDGE"),
    }
    assert (api["StageName"], api["EndpointConfiguration"]) == wanted[emitted.name]
    domains, mappings = (
        emitted.of(f"AWS::ApiGateway::{kind}") for kind in ("DomainName", "BasePathMapping")
    )
    if emitted.name == "dev":
        [statement] = body["x-amazon-apigateway-policy"]["Statement"]
        condition = statement["Condition"]["StringEquals"]
        assert condition == {"aws:SourceVpce": ["vpce-0123456789abcdef0"]}
        within = body["x-amazon-apigateway-endpoint-configuration"]
        assert within == {"vpcEndpointIds": ["vpce-0123456789abcdef0"]}
        assert (domains, mappings) == ([], [])
        return
    assert "x-amazon-apigateway-policy" not in body
    if emitted.name == "local":
        assert (domains, mappings) == ([], [])
        return
    [domain], [mapping] = domains, mappings
    field = "CertificateArn" if emitted.name == "edge" else "RegionalCertificateArn"
    assert domain[field].startswith("arn:aws:acm:")
    assert domain["SecurityPolicy"] == "TLS_1_2"
    assert mapping["BasePath"] == ("x" if emitted.name == "edge" else "(none)")


def test_an_existing_network_is_used_and_no_other_made(emitted: Emitted) -> None:
    own = {"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::VPCEndpoint"}
    found = own & {one["Type"] for one in emitted.template["Resources"].values()}
    assert found == (set() if emitted.name == "dev" else own)
    if emitted.name == "dev":
        parameters = emitted.template["Parameters"]
        assert parameters["VpcId"]["Default"] == "vpc-0123456789abcdef0"
        targets = [one["SubnetId"] for one in emitted.of("AWS::EFS::MountTarget")]
        assert targets == [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]
