"""What keeps the API warm is made, found again, changed and removed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.deploying.api_routes import ALIAS
from chalicelib.services.warming import WARM_UP
from tests import warm_stage
from tests.warm_stage import Stage, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with warm_stage.place(tmp_path_factory.mktemp("warmth")) as found:
        yield found


@pytest.fixture
def stage(place: dict[str, Any]) -> Stage:
    return warm_stage.make_stage(place)


def test_processes_are_kept_ready_behind_an_alias(stage: Stage) -> None:
    told: list[str] = []
    assert len(list(stage.entrance.differences())) == 3
    deployment = stage.entrance.apply(told.append)
    live = stage.gateway.get_stage(restApiId=stage.entrance.rest_api_id, stageName="v1")
    assert live["deploymentId"] == deployment
    assert (stage.target(), stage.alias()) == (f"{stage.function}:{ALIAS}", "1")
    found = stage.functions.get_provisioned_concurrency_config(
        FunctionName=stage.function, Qualifier=ALIAS
    )
    assert found["RequestedProvisionedConcurrentExecutions"] == 2
    policy = stage.functions.get_policy(FunctionName=stage.function, Qualifier=ALIAS)["Policy"]
    assert f":{stage.entrance.rest_api_id}/*" in policy
    assert told


def test_twice_is_once(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    told: list[str] = []
    assert stage.entrance.apply(told.append) is None
    assert (told, list(stage.entrance.differences()), stage.versions()) == ([], [], ["1"])


def test_new_code_moves_the_alias_and_old_versions_go(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    for number in ("two", "three", "four"):
        stage.functions.update_function_code(FunctionName=stage.function, ZipFile=zipped(number))
        assert list(stage.entrance.differences()) == [f"version of function {stage.function}"]
        stage.entrance.apply(lambda _: None)
    assert stage.alias() == "4"
    assert stage.versions() == ["3", "4"]


def test_configured_away_nothing_is_left(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    without = replace(stage.entrance, wanted=0)
    assert list(without.differences())
    assert without.apply(lambda _: None) is not None
    assert (stage.target(), stage.alias(), stage.versions()) == (stage.function, None, [])
    assert without.apply(lambda _: None) is None
    assert list(without.differences()) == []


def test_a_schedule_comes_changes_and_goes(stage: Stage) -> None:
    stage.schedule(5).apply(lambda _: None)
    assert list(stage.schedule(5).differences()) == []
    assert list(stage.schedule(1).differences()) != []
    rule = stage.events.describe_rule(Name=f"{stage.function}-warm")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    [target] = stage.events.list_targets_by_rule(Rule=f"{stage.function}-warm")["Targets"]
    assert json.loads(target["Input"]) == WARM_UP
    assert target["Arn"].endswith(f":function:{stage.function}")
    policy = json.loads(stage.functions.get_policy(FunctionName=stage.function)["Policy"])
    [statement] = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    stage.schedule(0).apply(lambda _: None)
    names = {one["Name"] for one in stage.events.list_rules()["Rules"]}
    assert f"{stage.function}-warm" not in names
    assert not stage.schedule(0).remove()


def asked(stage: Stage) -> list[str]:
    """Return what is done to provisioned concurrency from now on, call by call."""
    calls: list[str] = []

    def note(model: Any, **_: Any) -> None:
        if "Provisioned" in model.name and not model.name.startswith("Get"):
            calls.append(model.name.removesuffix("ProvisionedConcurrencyConfig"))

    stage.functions.meta.events.register("before-call.lambda", note)
    return calls


def test_processes_that_lack_new_packages_end_and_others_begin(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    calls = asked(stage)
    stage.entrance.end_processes()
    assert list(stage.entrance.differences()) != []  # so a run that is killed here is healed
    assert stage.entrance.apply(lambda _: None) is None  # the API leads there all the while
    assert calls == ["Delete", "Put"]


def test_an_adopted_stage_has_its_processes_begin_anew_and_nothing_else(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    live = stage.gateway.get_stage(restApiId=stage.entrance.rest_api_id, stageName="v1")
    calls, told = asked(stage), list[str]()
    stage.entrance.end_processes()
    stage.entrance.refill(told.append)
    assert calls == ["Delete", "Put"]
    assert list(stage.entrance.differences()) == []
    now = stage.gateway.get_stage(restApiId=stage.entrance.rest_api_id, stageName="v1")
    assert (now["deploymentId"], stage.versions()) == (live["deploymentId"], ["1"])


def test_where_none_are_kept_ready_none_begin(stage: Stage) -> None:
    calls = asked(stage)
    for entrance in (stage.entrance, replace(stage.entrance, wanted=0)):
        entrance.renew(lambda _: None)
        entrance.refill(lambda _: None)
    replace(stage.entrance, wanted=0).end_processes()
    assert calls == ["Delete"]
