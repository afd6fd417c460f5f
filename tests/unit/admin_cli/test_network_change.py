"""Which changes of `stages.toml` move a stage to another network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from admin_cli.console import CliError
from admin_cli.deploying.network_change import check_zones, moves
from admin_cli.deploying.stage_settings import StageSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

NEW = {"network": "new"}
EXISTING = {
    "network": "existing",
    "vpc_id": "vpc-0123abcd",
    "subnet_ids": ["subnet-0123abcd", "subnet-0123abce"],
}


def settings(fields: dict[str, Any]) -> StageSettings:
    return StageSettings.model_validate(fields)


def stack(fields: dict[str, Any], status: str = "CREATE_COMPLETE") -> StackTypeDef:
    """A stack as CloudFormation describes one that was made of these settings."""
    given = [
        {"ParameterKey": name, "ParameterValue": value}
        for name, value in settings(fields).parameters("dev").items()
    ]
    return cast("StackTypeDef", {"StackStatus": status, "Parameters": given})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NEW, EXISTING),
        (EXISTING, NEW),
        (NEW, {**NEW, "vpc_cidr": "10.5.0.0/24"}),
        (NEW, {**NEW, "zones": ["us-east-1b", "us-east-1c"]}),
        (EXISTING, {**EXISTING, "vpc_id": "vpc-0123abce"}),
        (EXISTING, {**EXISTING, "subnet_ids": ["subnet-0123abcd", "subnet-0123abcf"]}),
        # Each mount target would be made in the zone where the other one still is.
        (EXISTING, {**EXISTING, "subnet_ids": ["subnet-0123abce", "subnet-0123abcd"]}),
    ],
)
def test_another_place_is_a_move(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert moves("dev", settings(after), stack(before))
    assert moves("dev", settings(before), stack(after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NEW, {**NEW, "log_days": 30, "mail_domain": "mail.example.org"}),
        # Of an existing network the range is not ours to say.
        (EXISTING, {**EXISTING, "vpc_cidr": "10.5.0.0/24"}),
        ({"network": "none"}, NEW),
        (NEW, {"network": "none"}),
    ],
)
def test_anything_else_is_none(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert not moves("local", settings(after), stack(before))


ZONES = {**NEW, "zones": ["us-east-1b", "us-east-1c"]}


@pytest.mark.parametrize(("before", "after"), [(NEW, ZONES), (ZONES, NEW)])
def test_other_zones_need_other_addresses(before: dict[str, Any], after: dict[str, Any]) -> None:
    with pytest.raises(CliError, match="another vpc_cidr along with zones"):
        check_zones("dev", settings(after), stack(before))
    check_zones("dev", settings({**after, "vpc_cidr": "10.5.0.0/24"}), stack(before))
    check_zones("dev", settings(EXISTING), stack(before))


def test_a_stack_from_before_there_were_zones_moves_nowhere() -> None:
    older = stack(NEW)
    older["Parameters"] = [
        one for one in older["Parameters"] if not one.get("ParameterKey", "").startswith("Zone")
    ]
    assert not moves("dev", settings(NEW), older)
    assert moves("dev", settings(ZONES), older)


def test_a_stack_that_never_came_up_holds_nothing_to_move() -> None:
    assert not moves("dev", settings(EXISTING), stack(NEW, "ROLLBACK_COMPLETE"))
