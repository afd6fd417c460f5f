"""Conditions of an emitted template are settled; its warm-up and usage plans are as deployed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from admin_cli.deploying.emit import base_template, merge
from admin_cli.deploying.emit_conditions import settle
from admin_cli.deploying.emit_plans import put_plans
from admin_cli.deploying.emit_protection import put_protection
from admin_cli.deploying.emit_references import placeholder_foundation
from admin_cli.deploying.emit_resources import complete
from admin_cli.deploying.emit_warmth import put_warmth
from admin_cli.deploying.stage_settings import StageSettings
from admin_cli.tenants.catalogue import load_plans
from tests.fakes.values import a_client
from tests.unit.admin_cli.test_emit import packaged


def settled(stage: str, **fields: Any) -> dict[str, Any]:
    settings = StageSettings.model_validate(fields)
    document = packaged()
    complete(document, stage, settings, placeholder_foundation(settings))
    return settle(merge(base_template(), document, stage, settings))


@pytest.mark.parametrize("network", ["none", "new"])
def test_what_a_stage_does_not_have_is_not_there(network: str) -> None:
    template = settled("local", network=network)
    text = json.dumps(template)
    assert ("FileSystem" in template["Resources"]) is (network == "new")
    assert "Key" not in template["Resources"], "stage local has no key of its own"
    assert "MailIdentity" not in template["Resources"]
    for word in ('"Fn::If"', "AWS::NoValue", '"Condition": "'):
        assert word not in text
    assert not {"Conditions", "Rules"} & set(template)


def test_a_mail_identity_that_is_shared_is_not_made() -> None:
    fields = {"mail_domain": "mail.example.org", "mail_identity": "existing"}
    resources = settled("prod", **fields)["Resources"]
    assert "MailIdentity" not in resources
    assert "MailConfiguration" in resources
    assert "MailIdentity" in settled("prod", mail_domain="mail.example.org")["Resources"]


def test_what_decided_cannot_be_changed_any_more() -> None:
    parameters = settled("prod", mail_domain="mail.example.org")["Parameters"]
    assert parameters["Stage"]["AllowedValues"] == ["prod"]
    assert parameters["MailDomain"]["AllowedValues"] == ["mail.example.org"]
    assert "Network" not in parameters, "nothing refers to it any more"
    assert "AllowedValues" not in parameters["LogDays"]


def test_a_first_creation_can_be_undone_as_its_table_is_protected_by_an_update() -> None:
    template = put_protection(settled("prod"))
    table = template["Resources"]["Table"]["Properties"]
    assert table["DeletionProtectionEnabled"] == {"Ref": "Protected"}
    parameter = template["Parameters"]["Protected"]
    assert (parameter["Default"], parameter["AllowedValues"]) == ("true", ["true", "false"])
    local = settled("local")
    assert put_protection(local) == local
    assert local["Resources"]["Table"]["Properties"]["DeletionProtectionEnabled"] is False


def test_the_template_itself_keeps_a_condition_of_a_policy() -> None:
    """`Condition` is also a word of IAM's."""
    text = json.dumps(settled("prod"))
    assert "aws:SecureTransport" in text
    assert "ArnEquals" in text


def warmed(**fields: Any) -> dict[str, Any]:
    uri = "arn:aws:apigateway:x:lambda:path/functions/${APIHandler.Arn}/invocations"
    method = {"x-amazon-apigateway-integration": {"uri": {"Fn::Sub": uri}}}
    resources: dict[str, Any] = packaged()["Resources"]
    resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"] = {"/xray": {"post": method}}
    resources["APIHandlerInvokePermission"] = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {"FunctionName": {"Ref": "APIHandler"}},
    }
    put_warmth(resources, "prod", StageSettings.model_validate(fields), b"code")
    return resources


def test_without_a_wish_nothing_is_kept_warm() -> None:
    resources = warmed()
    assert not {"APIHandlerLive", "WarmUp"} & set(resources)


def test_the_api_leads_to_what_is_kept_ready() -> None:
    resources = warmed(provisioned_concurrency=3, warm_every_minutes=1)
    alias = resources["APIHandlerLive"]["Properties"]
    assert alias["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 3}
    method = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]["/xray"]["post"]
    uri = method["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
    assert "/functions/${APIHandlerLive}/invocations" in uri
    permission = resources["APIHandlerInvokePermission"]["Properties"]
    assert permission["FunctionName"] == {"Ref": "APIHandlerLive"}
    rule = resources["WarmUp"]["Properties"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["Targets"][0]["Arn"] == {"Ref": "APIHandlerLive"}


def versions(code: bytes) -> set[str]:
    resources: dict[str, Any] = packaged()["Resources"]
    resources["APIHandlerInvokePermission"] = {"Properties": {}}
    put_warmth(resources, "prod", StageSettings(provisioned_concurrency=1), code)
    return {name for name in resources if "Version" in name}


def test_other_code_is_another_version() -> None:
    assert versions(b"one") == versions(b"one")
    assert versions(b"one") != versions(b"two")


def test_each_client_has_its_plan() -> None:
    plans = load_plans()
    clients = [a_client(f"client-{name}", plan=plan) for name, plan in plans.items()]
    resources: dict[str, Any] = {}
    put_plans(resources, "prod", clients)
    made = {one["Properties"]["UsagePlanName"]: one["Properties"] for one in resources.values()}
    assert set(made) == {f"radgate-prod-{client.id}" for client in clients}
    for client in clients:
        properties = made[f"radgate-prod-{client.id}"]
        assert properties["Quota"]["Limit"] == client.plan.requests.limit
        assert properties["Quota"]["Period"] in {"DAY", "WEEK", "MONTH"}
        assert properties["Throttle"]["BurstLimit"] == client.plan.throttle.burst
