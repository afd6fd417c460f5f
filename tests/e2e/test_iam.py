"""What each function's role may not do, refused by the local AWS with its enforcement on.

Roles are made here from the very policy files that `chalice deploy` sends, without the deploy: a
refusal does not depend on the code behind it, and these tests take seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from admin_cli import emulator
from admin_cli.deploying.staging import deploy_values, policies, resolve
from admin_cli.foundation import Foundation, apply_foundation
from chalicelib.aws import ClientSessions
from chalicelib.reports.store import S3DocumentStore
from tests.e2e.forbidden import BEYOND, FORBIDDEN, item, put
from tests.foundation_table import table_definition
from tests.local_aws import own_local_aws
from tests.unit.test_policies import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"}
STUDY = "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB"
ONCE = Config(retries={"total_max_attempts": 1}, signature_version="v4")


@dataclass(frozen=True)
class Account:
    """Two stages in one account, and credentials of any of the first one's roles."""

    own: Foundation
    other: Foundation
    sessions: dict[str, boto3.session.Session]

    def client(self, function: str, service: Any) -> Any:
        """Return a client of AWS with the credentials that a function would have."""
        config = Config(signature_version="s3v4") if service == "s3" else ONCE
        return self.sessions[function].client(service, config=config)

    def objects(self, function: str = "api_handler") -> ClientSessions:
        """Return what a function reaches clients' objects by."""
        sts = self.client(function, "sts")
        return ClientSessions(sts, self.own.DataRoleArn, self.own.BucketName)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with own_local_aws(tmp_path_factory.mktemp("iam") / "home"):
        yield make_account()


def make_account() -> Account:
    own = apply_foundation("local")
    other = make_other_stage(own)
    s3 = boto3.client("s3")
    for stage in (own, other):
        for name in ("clients/acme/studies/a.pdf", "clients/rival/studies/b.pdf"):
            s3.put_object(Bucket=stage.BucketName, Key=name, Body=b"%PDF")
    return Account(own, other, {function: session_of(own, function) for function in FUNCTIONS})


def make_other_stage(own: Foundation) -> Foundation:
    """Make what the tests reach for of a stage `dev`, whose template the local AWS cannot apply."""
    names = own.model_dump_json().replace("radgate-local", "radgate-dev")
    other = Foundation.model_validate_json(names)
    boto3.client("s3").create_bucket(
        Bucket=other.BucketName,
        CreateBucketConfiguration={"LocationConstraint": emulator.REGION},  # type: ignore[typeddict-item]
    )
    boto3.client("dynamodb").create_table(TableName=other.TableName, **table_definition())
    boto3.client("sqs").create_queue(QueueName=other.QueueUrl.rpartition("/")[2])
    iam = boto3.client("iam")
    trust = iam.get_role(RoleName="radgate-local-data")["Role"]["AssumeRolePolicyDocument"]
    iam.create_role(
        RoleName="radgate-dev-data",
        AssumeRolePolicyDocument=json.dumps(trust).replace("radgate-local", "radgate-dev"),
    )
    return other


def session_of(own: Foundation, function: str) -> boto3.session.Session:
    """Make a function's role as Chalice does, and take on what Lambda would give the function."""
    iam, name = boto3.client("iam"), f"radgate-local-{function}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Statement": [{**trust, "Action": "sts:AssumeRole"}]}),
    )["Role"]
    [file] = [one for one in policies(ROOT, "local") if one.endswith(f"-{function}.json")]
    document = resolve(ROOT / ".chalice" / file, deploy_values(own, "/mnt/models"))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=document)
    granted = boto3.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=name)
    return boto3.session.Session(
        aws_access_key_id=granted["Credentials"]["AccessKeyId"],
        aws_secret_access_key=granted["Credentials"]["SecretAccessKey"],
        aws_session_token=granted["Credentials"]["SessionToken"],
        region_name=emulator.REGION,
    )


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] in REFUSED, error.value


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("service", "call"),
    [pytest.param(service, call, id=words) for service, words, call in FORBIDDEN],
)
def test_no_function_gets(account: Account, function: str, service: str, call: Any) -> None:
    client = account.client(function, service)
    refused(lambda: call(client, account.own, account.other))


def holders(action: str) -> list[str]:
    """Return the functions whose policy allows an action."""
    found = []
    for function in FUNCTIONS:
        text = (ROOT / ".chalice" / f"policy-local-{function}.json").read_text(encoding="utf-8")
        allowed = [s["Action"] for s in json.loads(text)["Statement"] if s["Effect"] == "Allow"]
        if any(action == one or action in one for one in allowed):
            found.append(function)
    return found


@pytest.mark.parametrize("function", holders("dynamodb:PutItem"))
def test_what_it_may_do_is_not_refused(account: Account, function: str) -> None:
    """Guards the tests above: were everything refused, they would pass as well."""
    table = account.client(function, "dynamodb")
    table.put_item(TableName=account.own.TableName, Item=item("CLIENT#acme", f"JUST#{function}"))
    table.transact_write_items(TransactItems=[put(account.own.TableName, "JOBS#01")])


@pytest.mark.parametrize("function", holders("sts:AssumeRole"))
def test_a_session_reaches_its_clients_objects(account: Account, function: str) -> None:
    own, s3 = account.own.BucketName, account.objects(function)("acme")
    s3.put_object(Bucket=own, Key="clients/acme/studies/new.pdf", Body=b"new")
    s3.put_object(Bucket=own, Key="uploads/acme/image", Body=b"image")
    assert s3.get_object(Bucket=own, Key="clients/acme/studies/new.pdf")["Body"].read() == b"new"
    listed = s3.list_objects_v2(Bucket=own, Prefix="clients/acme/studies/")
    assert {one["Key"] for one in listed["Contents"]} >= {"clients/acme/studies/new.pdf"}
    s3.delete_object(Bucket=own, Key="uploads/acme/image")


@pytest.mark.parametrize("call", [pytest.param(call, id=words) for words, call in BEYOND])
def test_a_session_of_one_client_cannot(account: Account, call: Any) -> None:
    refused(lambda: call(account.objects()("acme"), account.own.BucketName))


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f not in holders("sts:AssumeRole")])
def test_who_needs_no_objects_gets_no_session(account: Account, function: str) -> None:
    refused(lambda: account.objects(function)("acme"))


def test_a_wider_session_is_still_only_one_clients(account: Account) -> None:
    """A function that was taken over could ask for all; what is signed for a client stays his."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    granted = account.client("api_handler", "sts").assume_role(
        RoleArn=account.own.DataRoleArn,
        RoleSessionName="wide",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )["Credentials"]
    wide = boto3.session.Session(
        granted["AccessKeyId"], granted["SecretAccessKey"], granted["SessionToken"]
    )
    # The role itself is the outer bound: objects of its stage, and nothing else at all.
    s3 = wide.client("s3", region_name=emulator.REGION)
    refused(
        lambda: s3.get_object(Bucket=account.other.BucketName, Key="clients/acme/studies/a.pdf")
    )
    refused(lambda: s3.delete_bucket_policy(Bucket=account.own.BucketName))
    table = wide.client("dynamodb", region_name=emulator.REGION)
    refused(lambda: table.get_item(TableName=account.own.TableName, Key=item("CLIENT#acme")))


def test_a_link_works_for_its_object_and_for_no_other(account: Account) -> None:
    s3 = account.objects()
    store = S3DocumentStore(s3, account.own.BucketName, lambda: datetime.now(UTC))
    store.put("acme", STUDY, "report.pdf", b"%PDF-1.7")
    url = store.link("acme", STUDY, "report.pdf").url
    assert httpx.get(url).content == b"%PDF-1.7"
    # Signed with acme's session, for another's object: the signature is right, the right is not.
    forged = s3("acme").generate_presigned_url(
        "get_object",
        Params={"Bucket": account.own.BucketName, "Key": "clients/rival/studies/b.pdf"},
    )
    assert httpx.get(forged).status_code == 403
    moved = url.replace("clients/acme/", "clients/rival/")
    assert httpx.get(moved).status_code == 403
