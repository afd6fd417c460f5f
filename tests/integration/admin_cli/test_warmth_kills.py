"""A run that makes or ends provisioned concurrency is cut off at each change; the next heals it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.chalice_runner import find_api
from tests import warm_stage
from tests.warm_stage import Stage, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admin_cli.deploying.provisioning import Entrance

_READS = ("Get", "List", "Describe")


class Killed(BaseException):
    """What ends a run in the middle; nothing of ours may catch it."""


@dataclass
class Watch:
    """Sees the changes that a stage's clients make; cuts one off; knows what each deployment holds.

    The local AWS deploys no integrations of their own, so what the routes led to when a
    deployment was made is kept here.
    """

    stage: Stage
    at: int = 0
    after: bool = False
    changes: int = 0
    deployed: str = ""
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deployed = self.stage.target()
        for client in (self.stage.functions, self.stage.gateway):
            client.meta.events.register("before-call", self._before)
            client.meta.events.register("after-call", self._after)

    def _before(self, model: Any, **_: Any) -> None:
        if model.name.startswith(_READS):
            return
        self.changes += 1
        if self.changes == self.at and not self.after:
            raise Killed

    def _after(self, model: Any, **_: Any) -> None:
        if model.name.startswith(_READS):
            return
        self.made.append(model.name)
        if model.name == "CreateDeployment":
            self.deployed = self.stage.target()
        if self.changes == self.at and self.after:
            raise Killed

    def is_answered(self) -> bool:
        """Whether what the deployed stage leads to is there."""
        return not self.deployed.endswith(f":{ALIAS}") or self.stage.alias() is not None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with warm_stage.place(tmp_path_factory.mktemp("kills")) as found:
        yield found


def silent(_text: str) -> None:
    return


def wanting(stage: Stage, number: int) -> Entrance:
    return replace(stage.entrance, wanted=number)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("start", "end"), [(0, 2), (2, 0), (2, 3)], ids=["on", "off", "more"])
def test_a_run_killed_at_any_change_is_healed_by_the_next(
    place: dict[str, Any], start: int, end: int, *, after: bool
) -> None:
    kills = 0
    for at in range(1, 30):
        stage = warm_stage.make_stage(place)
        wanting(stage, start).apply(silent)
        if end > start > 0:
            stage.functions.update_function_code(FunctionName=stage.function, ZipFile=zipped("two"))
        watch = Watch(stage, at, after)
        try:
            wanting(stage, end).apply(silent)
        except Killed:
            kills += 1
        else:
            break
        assert watch.is_answered(), f"not after change {at}, {watch.made}"
        watch.at = 0
        wanting(stage, end).apply(silent)
        assert watch.is_answered(), f"not after the run that followed change {at}"
        assert watch.deployed == (f"{stage.function}:{ALIAS}" if end else stage.function)
        assert list(wanting(stage, end).differences()) == []
        assert wanting(stage, end).apply(silent) is None
    assert kills >= 4
    assert len(watch.made) == kills, "each change was cut off once"


def test_the_deployment_is_made_before_the_alias_goes(place: dict[str, Any]) -> None:
    stage = warm_stage.make_stage(place)
    stage.entrance.apply(silent)
    watch = Watch(stage)
    wanting(stage, 0).apply(silent)
    assert watch.made.index("CreateDeployment") < watch.made.index("DeleteAlias")


def test_a_stage_that_leads_to_an_alias_that_is_gone_is_healed(place: dict[str, Any]) -> None:
    """As a run left it that lost its deployment between the routes and the alias."""
    stage = warm_stage.make_stage(place)
    stage.entrance.apply(silent)
    watch = Watch(stage, at=3)  # two routes, then the deployment
    with pytest.raises(Killed):
        wanting(stage, 0).apply(silent)
    watch.at = 0
    stage.functions.delete_alias(FunctionName=stage.function, Name=ALIAS)
    assert (stage.target(), watch.deployed) == (stage.function, f"{stage.function}:{ALIAS}")
    assert list(wanting(stage, 0).differences()) != []
    assert wanting(stage, 0).apply(silent) is not None
    assert watch.deployed == stage.function


@pytest.mark.parametrize("number", [0, 2])
def test_the_api_is_found_wherever_it_leads(place: dict[str, Any], number: int) -> None:
    stage = warm_stage.make_stage(place)
    wanting(stage, number).apply(silent)
    name = stage.function.removeprefix("radgate-")
    assert find_api(stage.gateway, name) == stage.entrance.rest_api_id
    assert find_api(stage.gateway, name[:-1] or "x") != stage.entrance.rest_api_id


def test_other_subnets_make_another_version(place: dict[str, Any]) -> None:
    stage = warm_stage.make_stage(place)
    stage.entrance.apply(silent)
    ec2 = boto3.client("ec2", **place)
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(VpcId=network, GroupName=stage.function, Description="x")
    stage.functions.update_function_configuration(
        FunctionName=stage.function,
        VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": [group["GroupId"]]},
    )
    assert list(stage.entrance.differences()) == [f"version of function {stage.function}"]
    stage.entrance.apply(silent)
    live = stage.functions.get_function_configuration(FunctionName=stage.function, Qualifier=ALIAS)
    assert live["VpcConfig"]["SubnetIds"] == [subnet]
    assert list(stage.entrance.differences()) == []
