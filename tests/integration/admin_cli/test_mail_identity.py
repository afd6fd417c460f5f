"""A mail domain is one identity for an account and Region: made once, shared, and kept while used.

Over moto, whose CloudFormation knows no identity: a stack stands for it that has the same names.
"""

from __future__ import annotations

import json

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying.mail_identity import (
    check_mail_identity,
    is_kept,
    remove_mail_identity,
    sending_by,
)
from admin_cli.deploying.stage_settings import StageSettings

pytestmark = pytest.mark.usefixtures("account")

DOMAIN = "mail.example.org"
NEW = StageSettings.model_validate({"mail_domain": DOMAIN})
EXISTING = StageSettings.model_validate({"mail_domain": DOMAIN, "mail_identity": "existing"})


def stack(stage: str, domain: str = DOMAIN, *, makes: bool) -> None:
    """A stack whose topic has the identity's name, as its own or as an output alone."""
    name = domain.replace(".", "-")
    made = {"MailIdentity": {"Type": "AWS::SSM::Parameter", "Properties": {}}}
    made["MailIdentity"]["Properties"] = {"Name": domain, "Type": "String", "Value": "made"}
    other = {"Other": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": f"{stage}-{name}"}}}
    template = {
        "Resources": {**other, **(made if makes else {})},
        "Outputs": {"MailDomain": {"Value": domain}},
    }
    boto3.client("cloudformation").create_stack(
        StackName=f"radgate-{stage}", TemplateBody=json.dumps(template)
    )


def identity(domain: str = DOMAIN) -> None:
    boto3.client("sesv2").create_email_identity(EmailIdentity=domain)


def identities() -> list[str]:
    found = boto3.client("sesv2").list_email_identities()["EmailIdentities"]
    return [str(one.get("IdentityName")) for one in found]


def test_without_mail_nothing_is_asked() -> None:
    check_mail_identity("dev", StageSettings())


def test_the_first_stage_makes_it() -> None:
    check_mail_identity("dev", NEW)


def test_a_stage_keeps_what_it_has_made() -> None:
    stack("dev", makes=True)
    identity()
    check_mail_identity("dev", NEW)
    check_mail_identity("dev", EXISTING)  # as it gives it up: it stays there


@pytest.mark.parametrize("other", ["prod", None])
def test_a_second_stage_is_told_to_share_it(other: str | None) -> None:
    """Made by another stage, or by hand."""
    identity()
    if other is not None:
        stack(other, makes=True)
    stack("dev", "other.example.org", makes=True)
    with pytest.raises(CliError, match='write mail_identity = "existing"'):
        check_mail_identity("dev", NEW)
    check_mail_identity("dev", EXISTING)


def test_one_that_is_not_there_cannot_be_shared() -> None:
    with pytest.raises(CliError, match=f"SES has no identity {DOMAIN}"):
        check_mail_identity("dev", EXISTING)


def test_it_stays_as_long_as_another_stage_sends_by_it() -> None:
    stack("prod", makes=True)
    stack("dev", makes=False)
    stack("test", "other.example.org", makes=True)
    identity()
    told: list[str] = []
    assert list(sending_by(DOMAIN, "prod")) == ["dev"]
    assert is_kept("prod", DOMAIN)
    remove_mail_identity("prod", DOMAIN, told.append)
    assert identities() == [DOMAIN]
    assert told == [f"mail identity {DOMAIN} stays: stage dev sends by it"]
    boto3.client("cloudformation").delete_stack(StackName="radgate-dev")
    assert not is_kept("prod", DOMAIN)
    for _ in range(2):  # twice is no error
        remove_mail_identity("prod", DOMAIN, told.append)
        assert identities() == []


def test_what_a_stage_has_not_made_it_does_not_remove() -> None:
    stack("dev", makes=False)
    identity()
    assert is_kept("dev", DOMAIN)
    remove_mail_identity("dev", DOMAIN, pytest.fail)
    remove_mail_identity("dev", "", pytest.fail)
    assert identities() == [DOMAIN]
