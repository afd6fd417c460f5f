"""A tree on its way: from the operator's disk over S3, through the function, onto the mount."""

from __future__ import annotations

import io
import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from admin_cli.console import CliError
from admin_cli.runtime.remote import Mount
from admin_cli.runtime.upload import FRESH, Upload
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.store import PREFIX, S3Source, part_name
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import Trees
from tests.fakes.runtime import EasyTrial, FolderSource, make_tree
from tests.integration.test_foundation_template import resources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from admin_cli.runtime.build import Build
    from chalicelib.runtime.unpacking import Source

BUCKET = "radgate-test"


@pytest.fixture
def s3(account: None) -> S3Client:
    del account
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def built(tmp_path: Path) -> Build:
    return make_tree(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, built: Build) -> Path:
    return tmp_path / "built" / built.tree


def test_what_is_there_with_the_right_checksum_is_not_sent_again(
    s3: S3Client, built: Build, folder: Path
) -> None:
    moved: list[float] = []
    assert Upload(s3, BUCKET, folder).run(moved.append) == built.parts
    assert sum(moved) == built.packed_bytes
    assert Upload(s3, BUCKET, folder).run() == 0
    s3.delete_object(Bucket=BUCKET, Key=part_name(built.tree, 1))
    s3.put_object(Bucket=BUCKET, Key=part_name(built.tree, 0), Body=b"cut short")
    assert Upload(s3, BUCKET, folder).run() == 2


def test_what_the_lifecycle_would_delete_soon_is_sent_again(
    s3: S3Client, built: Build, folder: Path
) -> None:
    """A part that is skipped stays for longer than any tree takes to be unpacked."""
    Upload(s3, BUCKET, folder).run()
    older = datetime.now(UTC) + FRESH
    assert Upload(s3, BUCKET, folder, lambda: older - timedelta(minutes=1)).run() == 0
    assert Upload(s3, BUCKET, folder, lambda: older).run() == built.parts
    rules = resources()["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    [days] = [rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == PREFIX]
    assert timedelta(days=days) - FRESH > timedelta(days=2)


def test_the_manifest_comes_last(s3: S3Client, built: Build, folder: Path) -> None:
    """An upload that broke off is no tree yet."""
    part = folder / "part-0002.gz"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(CliError, match=r"part 2 of .* is damaged: build it again"):
        Upload(s3, BUCKET, folder).run()
    with pytest.raises(TreeRefused, match="upload the tree first"):
        S3Source(s3, BUCKET).manifest(built.tree)


def test_a_manifest_of_another_tree_is_not_uploaded(s3: S3Client, folder: Path) -> None:
    other = folder.with_name("f" * 64)
    folder.rename(other)
    with pytest.raises(CliError, match="build it again"):
        Upload(s3, BUCKET, other)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_source_gives_the_bytes_that_were_built(
    kind: str, s3: S3Client, built: Build, folder: Path
) -> None:
    """The contract that the fake and S3 share."""
    Upload(s3, BUCKET, folder).run()
    source: Source = FolderSource(folder.parent) if kind == "folder" else S3Source(s3, BUCKET)
    assert source.manifest(built.tree) == (folder / "manifest.json").read_bytes()
    for number in range(built.parts):
        part = folder / f"part-{number + 1:04d}.gz"
        assert source.part(built.tree, number) == part.read_bytes()
    with pytest.raises(TreeRefused):
        source.part(built.tree, 99)
    with pytest.raises(TreeRefused):
        source.manifest("0" * 64)


def test_what_is_not_there_is_told_though_s3_tells_only_who_may_list(built: Build) -> None:
    """Else an order waits a quarter of an hour for a bucket that answers."""
    client = boto3.client("s3", region_name="eu-central-1")
    with Stubber(client) as calls:
        calls.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(TreeRefused, match="upload the tree first"):
            S3Source(client, BUCKET).part(built.tree, 0)


@dataclass
class FakeLambda:
    """Invokes a handler in this process; `failures` come first, as Lambda reports them."""

    handler: Callable[[dict[str, Any]], dict[str, Any]]
    failures: deque[dict[str, Any]] = field(default_factory=deque)
    calls: int = 0

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto's
        assert FunctionName == "radgate-test-efs_sync"
        self.calls += 1
        if self.failures:
            failure = json.dumps(self.failures.popleft()).encode()
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(failure)}
        answer = json.dumps(self.handler(json.loads(Payload))).encode()
        return {"Payload": io.BytesIO(answer)}


def mount_of(function: FakeLambda) -> Mount:
    return Mount(cast("Any", function), "radgate-test-efs_sync", pause=lambda _: None)


def one_step_a_call(trees: Trees, source: Source) -> FakeLambda:
    def handle(event: dict[str, Any]) -> dict[str, Any]:
        left = iter([900.0])
        return Sync(trees, source, EasyTrial(), lambda: next(left, 0.0)).handle(event)

    return FakeLambda(handle)


def test_a_tree_is_synced_in_as_many_calls_as_it_takes(
    s3: S3Client, built: Build, folder: Path, tmp_path: Path
) -> None:
    Upload(s3, BUCKET, folder).run()
    function = one_step_a_call(Trees(tmp_path / "mount"), S3Source(s3, BUCKET))
    function.failures.append({"errorMessage": "2026-11-22 Task timed out after 900.00 seconds"})
    told: list[str] = []
    answer = mount_of(function).sync(built.tree, told.append)
    assert answer["active"] == built.tree
    assert function.calls > built.parts + 1
    assert mount_of(function).order("list")["trees"][0]["tree"] == built.tree


def test_a_function_that_gets_no_further_is_given_up(tmp_path: Path, built: Build) -> None:
    trees, source = Trees(tmp_path / "mount"), FolderSource(tmp_path / "built")
    idle = FakeLambda(Sync(trees, source, EasyTrial(), lambda: 0.0).handle)
    with pytest.raises(CliError, match="gets no further: its time is too short"):
        mount_of(idle).sync(built.tree, lambda _: None)
    assert idle.calls < 10


def test_a_function_that_fails_is_told(built: Build) -> None:
    broken = FakeLambda(dict, deque([{"errorType": "ImportError", "errorMessage": "secret"}]))
    with pytest.raises(CliError, match="the function failed: ImportError") as told:
        mount_of(broken).order("list")
    assert "secret" not in told.value.message
    refusing = FakeLambda(lambda _: {"state": "refused", "detail": "no room"})
    with pytest.raises(CliError, match="the function refuses: no room"):
        mount_of(refusing).sync(built.tree, lambda _: None)
