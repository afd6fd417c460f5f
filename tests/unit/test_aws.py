"""Where signed addresses point: the Region's own host on AWS, the given one elsewhere."""

from __future__ import annotations

from functools import _lru_cache_wrapper
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest

from chalicelib import aws

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    for member in vars(aws).values():
        if isinstance(member, _lru_cache_wrapper):
            member.cache_clear()


def signed_hosts() -> set[str]:
    """Return the hosts of a signed link and of a signed form."""
    link = aws.s3().generate_presigned_url("get_object", Params={"Bucket": "images", "Key": "a"})
    form = aws.s3().generate_presigned_post("images", "a")["url"]
    return {urlsplit(url).netloc for url in (link, form)}


@pytest.mark.parametrize("version", ["1.34.145", "1.35.68", "1.35.9"])
def test_a_botocore_without_conditional_writes_is_refused(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(aws.OldBotocoreError, match=r"1\.35\.69"):
        aws.check_botocore(version)
    assert f"botocore {version} is too old" in caplog.text


@pytest.mark.parametrize("version", ["1.35.69", "1.36.0", "1.43.106", "2.0.0"])
def test_a_newer_botocore_will_do(version: str) -> None:
    aws.check_botocore(version)


def test_the_installed_botocore_takes_a_condition_on_what_it_overwrites() -> None:
    put: Any = aws.s3().meta.service_model.operation_model("PutObject").input_shape
    assert {"IfMatch", "IfNoneMatch"} <= set(put.members)


@pytest.mark.parametrize("region", ["eu-central-1", "eu-south-2", "us-west-2"])
def test_a_signed_address_names_its_region(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert signed_hosts() == {f"images.s3.{region}.amazonaws.com"}


def test_a_signed_address_stays_at_the_endpoint_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert signed_hosts() == {"127.0.0.1:4566"}


def test_sessions_are_asked_for_in_the_own_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's endpoint of STS answers to the Region's name alone, not to the global one."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")  # the default of an older botocore
    assert boto3.client("sts").meta.endpoint_url == "https://sts.amazonaws.com"
    assert aws.sts().meta.endpoint_url == "https://sts.eu-central-1.amazonaws.com"
