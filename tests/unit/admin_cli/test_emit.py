"""References in the emitted template, and what is put into what Chalice packages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

from admin_cli.deploying.emit import base_template, merge
from admin_cli.deploying.emit_account import ACCOUNT, PARAMETER, put_account
from admin_cli.deploying.emit_conditions import settle
from admin_cli.deploying.emit_references import PLACEHOLDERS, placeholder_foundation, refer
from admin_cli.deploying.emit_resources import complete
from admin_cli.deploying.gateway_responses import REFUSALS
from admin_cli.deploying.stage_settings import StageSettings
from admin_cli.foundation import Foundation

NAMES = PLACEHOLDERS | {
    "TableName": {"Ref": "Table"},
    "BucketArn": {"Fn::GetAtt": ["Bucket", "Arn"]},
}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("@{TableName}", {"Ref": "Table"}),
        ("plain", "plain"),
        (7, 7),
        (None, None),
        (
            "@{BucketArn}/clients/*",
            {"Fn::Sub": ["${BucketArn}/clients/*", {"BucketArn": NAMES["BucketArn"]}]},
        ),
        # What already looks like a reference must not become one.
        (
            "${literal} @{Region}",
            {"Fn::Sub": ["${!literal} ${Region}", {"Region": {"Ref": "AWS::Region"}}]},
        ),
        ({"Fn::Sub": "${AWS::Region}"}, {"Fn::Sub": "${AWS::Region}"}),
        (["@{TableName}", {"a": "@{Region}"}], [{"Ref": "Table"}, {"a": {"Ref": "AWS::Region"}}]),
    ],
)
def test_placeholders_become_references(before: Any, after: Any) -> None:
    assert refer(before, NAMES) == after


def test_a_name_that_the_foundation_lacks_is_no_silent_text() -> None:
    with pytest.raises(KeyError, match="Nothing"):
        refer("@{Nothing}/x", NAMES)


def test_every_output_of_the_foundation_can_be_referred_to() -> None:
    assert set(Foundation.model_fields) <= set(base_template()["Outputs"])


def test_without_a_network_there_is_nothing_to_mount() -> None:
    without = placeholder_foundation(StageSettings(network="none"))
    assert (without.AccessPointArn, without.FunctionSubnetA) == ("", "")
    with_one = placeholder_foundation(StageSettings())
    assert with_one.AccessPointArn == "@{AccessPointArn}"
    assert (with_one.region, with_one.account) == ("@{Region}", "@{AccountId}")


def packaged() -> dict[str, Any]:
    """What `chalice package` writes, in small."""

    def function(handler: str, role: str) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "Handler": handler,
            "CodeUri": "./x.zip",
            "Role": {"Fn::GetAtt": [role, "Arn"]},
        }
        return {"Type": "AWS::Serverless::Function", "Properties": properties}

    return {
        "Resources": {
            "APIHandler": function("app.app", "ApiHandlerRole"),
            "Worker": function("app.worker", "WorkerRole"),
            "Deliver": function("app.deliver", "DeliverRole"),
            **{
                name: {"Type": "AWS::IAM::Role", "Properties": {}}
                for name in ("ApiHandlerRole", "WorkerRole", "DeliverRole")
            },
            "RestAPI": {
                "Type": "AWS::Serverless::Api",
                "Properties": {"DefinitionBody": {"info": {"title": "radgate"}, "paths": {}}},
            },
        },
        "Outputs": {},
    }


def completed(settings: StageSettings) -> dict[str, Any]:
    document = packaged()
    complete(document, "prod", settings, placeholder_foundation(settings))
    return dict(merge(base_template(), document, "prod", settings)["Resources"])


def test_functions_have_the_names_that_the_foundation_lets_in() -> None:
    resources = completed(StageSettings())
    names = {n: resources[n]["Properties"]["FunctionName"] for n in ("APIHandler", "Worker")}
    assert names == {"APIHandler": "radgate-prod", "Worker": "radgate-prod-worker"}
    assert resources["ApiHandlerRole"]["Properties"]["RoleName"] == "radgate-prod-api_handler"
    code = resources["Worker"]["Properties"]["CodeUri"]
    assert code == {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}


def test_readers_of_models_are_mounted_once_the_mount_targets_are_there() -> None:
    resources = completed(StageSettings())
    [mount] = resources["Worker"]["Properties"]["FileSystemConfigs"]
    assert mount["LocalMountPath"] == "/mnt/models"
    assert mount["Arn"] == base_template()["Outputs"]["AccessPointArn"]["Value"]
    assert resources["Worker"]["DependsOn"] == ["MountTargetA", "MountTargetB"]
    assert "FileSystemConfigs" not in resources["Deliver"]["Properties"]


def test_each_queue_wakes_its_function() -> None:
    resources = completed(StageSettings())
    wires = {
        name: resources[name]["Properties"]
        for name in ("QueueWakesWorker", "BulkQueueWakesWorker", "DeliveryQueueWakesDeliver")
    }
    assert wires["QueueWakesWorker"]["EventSourceArn"] == {"Fn::GetAtt": ["Queue", "Arn"]}
    for properties in wires.values():
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_gateways_refusals_are_in_the_apis_own_text() -> None:
    api = completed(StageSettings())["RestAPI"]["Properties"]
    responses = api["DefinitionBody"]["x-amazon-apigateway-gateway-responses"]
    assert set(responses) == {kind for kinds, _problem in REFUSALS for kind in kinds}
    assert responses["INVALID_API_KEY"]["statusCode"] == 403
    for response in responses.values():
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.Cache-Control"] == "'no-store'"
    told = json.loads(responses["QUOTA_EXCEEDED"]["responseTemplates"]["application/json"])
    assert "requests" in told["detail"]  # a study's units are counted by us, and are others
    assert "units" not in told["detail"]
    assert api["AccessLogSetting"]["DestinationArn"] == {"Fn::GetAtt": ["ApiLog", "Arn"]}
    assert not api["MethodSettings"][0]["DataTraceEnabled"]


def test_a_new_account_gets_the_role_for_access_logs_before_the_stage() -> None:
    settings = StageSettings()
    document = packaged()
    complete(document, "prod", settings, placeholder_foundation(settings))
    template = put_account(settle(merge(base_template(), document, "prod", settings)))
    account = template["Resources"][ACCOUNT]
    assert account["Properties"] == {"CloudWatchRoleArn": {"Fn::GetAtt": ["ApiLogRole", "Arn"]}}
    # It is the account's, so it stays; and where another's is entered, ours is not.
    assert (account["DeletionPolicy"], account["UpdateReplacePolicy"]) == ("Retain", "Retain")
    condition = template["Conditions"][account["Condition"]]
    assert condition == {"Fn::Equals": [{"Ref": PARAMETER}, "true"]}
    assert "Default" not in template["Parameters"][PARAMETER]
    role = template["Resources"]["ApiLogRole"]
    assert role["DeletionPolicy"] == "Retain", "also when the stack's creation fails"


def test_the_stage_that_sam_makes_of_the_api_comes_after_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a resource refers to is made before it; the access log's place is the stage's own."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    log = {"Fn::GetAtt": ["ApiLog", "Arn"]}
    api = {
        "Type": "AWS::Serverless::Api",
        "Properties": {
            "StageName": "v1",
            "DefinitionBody": {"swagger": "2.0", "paths": {}},
            "AccessLogSetting": {"DestinationArn": log, "Format": "{}"},
        },
    }
    role = {"Type": "AWS::IAM::Role", "Properties": {}}
    template = put_account({"Parameters": {}, "Resources": {"ApiLogRole": role, "RestAPI": api}})
    made = transform(template, {PARAMETER: "true"}, ManagedPolicyLoader(None))["Resources"]
    [stage] = [one for one in made.values() if one["Type"] == "AWS::ApiGateway::Stage"]
    place = stage["Properties"]["AccessLogSetting"]["DestinationArn"]
    condition, waiting, plain = place["Fn::If"]
    assert condition == template["Resources"][ACCOUNT]["Condition"]
    assert waiting == {"Fn::Select": ["0", [log, {"Ref": ACCOUNT}]]}
    assert plain == log


def test_without_the_role_nothing_is_entered() -> None:
    template = {"Parameters": {}, "Resources": {"RestAPI": {"Type": "AWS::Serverless::Api"}}}
    assert put_account(template) == template


def test_the_parameters_have_the_stages_values() -> None:
    settings = StageSettings(log_days=30)
    template = merge(base_template(), packaged(), "prod", settings)
    parameters = template["Parameters"]
    assert (parameters["Stage"]["Default"], parameters["LogDays"]["Default"]) == ("prod", "30")
    assert "Default" not in parameters["CodeKey"]
