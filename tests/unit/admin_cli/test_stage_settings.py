"""stages.toml: what it may say, and what it is told when it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.console import CliError
from admin_cli.deploying.stage_settings import STAGES, StageSettings, stage_settings

if TYPE_CHECKING:
    from pathlib import Path

CERTIFICATE = "arn:aws:acm:eu-central-1:111122223333:certificate/abc"
EXISTING = {"network": "existing", "vpc_id": "vpc-0123abcd", "subnet_ids": ["subnet-0123abcd"] * 2}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "stages.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
def test_the_projects_own_file_is_sound(stage: str) -> None:
    settings = stage_settings(stage, STAGES)
    assert (settings.api_stage, settings.endpoint) == ("v1", "regional")
    assert (settings.network == "none") is (stage == "local")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"endpoint": "private"}, "a private endpoint needs vpc_endpoints"),
        ({"vpc_endpoints": ["vpce-0123abcd"]}, "for a private endpoint only"),
        ({"endpoint": "regionl"}, "endpoint: Input should be"),
        ({"network": "existing"}, "an existing network needs vpc_id and two subnet_ids"),
        (EXISTING, "an existing network needs vpc_id and two subnet_ids"),
        ({"vpc_id": "vpc-0123abcd"}, "for an existing network only"),
        ({"zones": ["us-east-1b", "us-east-1b"]}, "zones are for a new network, and they are two"),
        ({"zones": ["us-east-1b"]}, "zones"),
        ({"zones": ["use1-az1", "use1-az2"]}, "zones"),
        ({**EXISTING, "zones": ["us-east-1b", "us-east-1c"]}, "an existing network needs"),
        ({"vpc_cidr": "10.0.0.0/8"}, "between /16 and /26"),
        ({"vpc_cidr": "8.8.8.0/24"}, "a private network"),
        ({"vpc_cidr": "10.0.0.1/24"}, "vpc_cidr"),
        ({"budget_dollars": 100}, "a budget needs alarm_email"),
        ({"alarm_email": "nobody"}, "alarm_email"),
        ({"mail_domain": "no domain"}, "mail_domain"),
        ({"mail_identity": "existing"}, "an existing mail_identity needs its mail_domain"),
        ({"mail_domain": "a.example", "mail_identity": "old"}, "mail_identity"),
        ({"log_days": 8}, "log_days"),
        ({"throttle": {"rate_per_second": 0, "burst": 1}}, "throttle.rate_per_second"),
        ({"compress_from": 20_000_000}, "compress_from"),
        ({"warm_every_minutes": 61}, "warm_every_minutes"),
        ({"provisioned_concurrency": -1}, "provisioned_concurrency"),
        ({"domain": {"name": "api.example.org"}}, "domain.certificate_arn"),
        (
            {
                "endpoint": "edge",
                "domain": {"name": "api.example.org", "certificate_arn": CERTIFICATE},
            },
            "must lie in us-east-1",
        ),
        ({"netwrok": "new"}, "netwrok: Extra inputs are not permitted"),
    ],
)
def test_what_is_amiss_is_named(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CliError, match=reason) as caught:
        stage_settings("dev", written(tmp_path, f"[dev]\n{toml(fields)}"))
    assert "stages.toml: stage dev: " in caught.value.message
    assert "\n" not in caught.value.message


def toml(fields: dict[str, Any]) -> str:
    return "".join(f"{name} = {value(given)}\n" for name, given in fields.items())


def value(given: Any) -> str:
    if isinstance(given, dict):
        return "{ " + ", ".join(f"{name} = {value(one)}" for name, one in given.items()) + " }"
    return repr(given)


def test_a_stage_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"stages\.toml has no stage prod, only dev, local"):
        stage_settings("prod", written(tmp_path, "[local]\n[dev]\n"))


@pytest.mark.parametrize("text", ["[dev", "dev = 1"])
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(CliError, match=r"stages\.toml"):
        stage_settings("dev", written(tmp_path, text))


def test_a_stage_on_aws_needs_a_network(tmp_path: Path) -> None:
    path = written(tmp_path, '[local]\nnetwork = "none"\n[dev]\nnetwork = "none"\n')
    assert stage_settings("local", path).network == "none"
    with pytest.raises(CliError, match="network none is for stage local only"):
        stage_settings("dev", path)


def test_the_network_is_halved_for_its_two_zones() -> None:
    settings = StageSettings.model_validate({"vpc_cidr": "10.1.0.0/16"})
    told = settings.parameters("dev")
    assert (told["SubnetCidrA"], told["SubnetCidrB"]) == ("10.1.0.0/17", "10.1.128.0/17")


def test_zones_are_passed_on_where_they_are_named() -> None:
    named = StageSettings.model_validate({"zones": ["us-east-1b", "us-east-1d"]}).parameters("dev")
    assert (named["ZoneA"], named["ZoneB"]) == ("us-east-1b", "us-east-1d")
    left = StageSettings().parameters("dev")
    assert (left["ZoneA"], left["ZoneB"]) == ("", "")


def test_an_existing_network_is_passed_on() -> None:
    subnets = ["subnet-0123abcd", "subnet-0123abce"]
    told = StageSettings.model_validate({**EXISTING, "subnet_ids": subnets}).parameters("dev")
    assert [told[name] for name in ("Network", "VpcId", "SubnetA", "SubnetB")] == [
        *("existing", "vpc-0123abcd"),
        *subnets,
    ]


def test_a_shared_mail_domain_is_not_made() -> None:
    own = StageSettings.model_validate({"mail_domain": "mail.example.org"})
    shared = own.model_copy(update={"mail_identity": "existing"})
    assert own.parameters("dev")["MailIdentityMade"] == "true"
    assert shared.parameters("dev")["MailIdentityMade"] == "false"
    assert shared.parameters("dev")["MailDomain"] == "mail.example.org"


def test_a_domain_with_and_without_path() -> None:
    fields = {"name": "api.example.org", "certificate_arn": CERTIFICATE}
    bare = StageSettings.model_validate({"domain": fields}).domain
    deeper = StageSettings.model_validate({"domain": {**fields, "path": "radgate"}}).domain
    assert bare is not None
    assert deeper is not None
    assert (bare.url, deeper.url) == ("https://api.example.org", "https://api.example.org/radgate")
