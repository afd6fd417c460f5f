"""A worker killed before and after each call by which it changes something, on the local AWS.

Real are: the queue with its receipts, redrive policy and dead letters, the table, the bucket, the
permissions of the functions' roles, the handlers of `app.py` with all their adapters, torch and the
pack, SIGKILL on a process, the deployed `sweep` and `deliver`, webhook and mail. Played here is who
stands between SQS and Lambda: the test takes messages out of the queue, hands them to the handler
and deletes those that its answer does not name. And time: what is hidden is shown at once, and a
lease is set back, so that nobody waits for minutes. The process is forked from one that is warm:
loading torch anew for each kill would take many minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.emulator import LOCAL_CREDENTIALS
from chalicelib.domain import MAX_ATTEMPTS
from tests.e2e.killed import CLIENT, SWEEPER, World, told_once, unhooked
from tests.e2e.killing import Trap, proxied
from tests.e2e.scheduled import SCHEDULED
from tests.e2e.test_queue import WORKER, Api, let_time_pass, small_chest
from tests.fakes.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.e2e.conftest import Stack
    from tests.e2e.killing import Host, Moment
    from tests.fakes.sink import Sink

BROKEN = b"\x89PNG\r\n\x1a\nbroken"
# What a worker changes for a batch of a radiograph and a file that nobody can read.
TOLD = ["SendMessage", "SendMessage"]  # by mail and by webhook
BATCH = [
    "TransactWriteItems",  # the radiograph is begun
    "TransactWriteItems",  # the file is begun
    "TransactWriteItems",  # the file has failed
    *TOLD,
    "DeleteObject",
    "UpdateItem",  # the radiograph's lease, proven before documents are written
    "PutObject",
    "TransactWriteItems",  # it has succeeded
    *TOLD,
    "DeleteObject",
]
# And for three attempts without a model: begun and given back twice, begun and failed.
GIVEN_BACK = ["TransactWriteItems", "UpdateItem", "ChangeMessageVisibility"]
GIVEN_UP = ["TransactWriteItems", "TransactWriteItems", *TOLD]
ATTEMPTS = [*GIVEN_BACK, *GIVEN_BACK, *GIVEN_UP, "ChangeMessageVisibility"]
SECOND = range(len(GIVEN_BACK) + 1, 2 * len(GIVEN_BACK) + 1)  # is as the first
# And the sweeper, of a study that was begun as often as it may be.
SWEPT = GIVEN_UP


@pytest.fixture(scope="module")
def world(stack: Stack, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assert sink
    region = LOCAL_CREDENTIALS["AWS_DEFAULT_REGION"]
    session = boto3.session.Session("test", "test", region_name=region)
    made: dict[str, Any] = {}

    def aws(service: Any) -> Any:
        if service not in made:
            made[service] = session.client(service, endpoint_url=stack.aws_url)
        return made[service]

    with receiving() as receiver, proxied(stack.aws_url) as proxy:
        stack.radgate.json(
            *("clients", "create", CLIENT, "--name", "Killed", "--email", "ops@killed.example"),
            *("--plan", "clinic", "--mail", "on"),
        )
        url = f"http://127.0.0.1:{receiver.port}/hooks"
        stack.radgate.json("webhooks", "set", CLIENT, url)
        key = stack.radgate.json("keys", "issue", CLIENT)["secret"]
        folder = tmp_path_factory.mktemp("killed")
        with unhooked(aws):
            yield World(stack, aws, Api(stack, key), proxy, receiver, folder)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chest") / "chest.png"
    path.write_bytes(small_chest())
    return path


@pytest.fixture(scope="module")
def host(world: World, chest: Path) -> Iterator[Host]:
    with world.host(WORKER, chest) as host:
        yield host


@pytest.fixture(scope="module")
def without_a_model(world: World, chest: Path) -> Iterator[Host]:
    with world.host(WORKER, chest, MODEL_DIR=str(world.folder)) as host:
        yield host


def traps(moment: Moment, writes: Sequence[str], *, but: range = range(0)) -> list[Trap | None]:
    """Return a trap for each write, `but` some, then none: the run that nothing harms."""
    numbers = (number for number in range(1, len(writes) + 1) if number not in but)
    return [*(Trap(number, moment) for number in numbers), None]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_ends_once_wherever_its_worker_is_killed(
    world: World, sink: Sink, host: Host, chest: Path, moment: Moment
) -> None:
    told: dict[str, str] = {}
    for trap in traps(moment, BATCH):
        used = world.api.used()
        good, bad = world.api.queue(chest.read_bytes()), world.api.queue(BROKEN)
        world.proxy.arm(trap)
        world.live(host, [good, bad])
        assert world.proxy.sprung == (trap is not None), trap
        world.ended(good, "succeeded")
        world.ended(bad, "failed", "unreadable_image")
        assert world.api.used() == used + 1, trap
        told |= {good: "succeeded", bad: "failed"}
    assert world.proxy.made == BATCH, "of the last run, which nothing harmed"
    told_once(world, sink, told)


def test_a_failure_of_ours_is_refunded_once_wherever_its_worker_is_killed(
    world: World, sink: Sink, without_a_model: Host, chest: Path
) -> None:
    """After a write only: for AWS that is the same as before the next one."""
    told: dict[str, str] = {}
    for trap in traps("after", ATTEMPTS, but=SECOND):
        used = world.api.used()
        study = world.api.queue(chest.read_bytes())
        world.proxy.arm(trap)
        world.live(without_a_model, [study])
        assert world.proxy.sprung == (trap is not None), trap
        # Given up by the sweeper when the last attempt ended without a word.
        code = "model_unavailable" if '"model_un' in world.row(study)["document"] else ""
        world.ended(study, "failed", code or "internal_error")
        assert world.api.used() == used, trap
        told[study] = "failed"
    assert world.proxy.made[: len(ATTEMPTS)] == ATTEMPTS
    told_once(world, sink, told)
    letters = {one["study"] for one in world.stack.radgate.json("studies", "dlq", "list")}
    assert set(told) <= letters


def test_an_image_that_kills_is_given_up_once_wherever_the_sweeper_is_killed(
    world: World, sink: Sink, without_a_model: Host, chest: Path
) -> None:
    """Each attempt ends by SIGKILL once it has begun; then so does the sweeper that gives it up."""
    told: dict[str, str] = {}
    with world.host(SWEEPER) as sweeper:
        for trap in traps("after", SWEPT):
            used = world.api.used()
            study = world.api.queue(chest.read_bytes())
            for _ in range(MAX_ATTEMPTS):
                event = world.event()
                assert event is not None
                world.proxy.arm(Trap(1, "after"))
                world.hand_over(without_a_model, event)
                assert world.proxy.sprung
                let_time_pass(world.aws, study)
            assert world.event() is None, "it is a dead letter now"
            world.proxy.arm(trap)
            sweeper.call("sweep", SCHEDULED)
            assert world.proxy.sprung == (trap is not None), trap
            let_time_pass(world.aws, study)
            swept = world.proxy.made
            world.proxy.arm(None)
            world.live(without_a_model, [study])
            world.ended(study, "failed", "internal_error")
            assert world.api.used() == used, trap
            told[study] = "failed"
    assert swept[: len(SWEPT)] == SWEPT
    told_once(world, sink, told)
    letters = {one["study"] for one in world.stack.radgate.json("studies", "dlq", "list")}
    assert set(told) <= letters
