"""No client ever has more keys that work than it may: at once, overtaken, killed or by and by."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from moto import mock_aws

from admin_cli.console import CliError
from admin_cli.tenants.key_views import works
from admin_cli.tenants.keyring import Keyring
from admin_cli.tenants.registry import MOST_KEYS
from chalicelib.domain import ApiKey
from chalicelib.tenants import records
from chalicelib.tenants.audit import Trail
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_key
from tests.integration.admin_cli.conftest import Killed, World, make_api
from tests.integration.tenants.conftest import isolate_transactions, make_table

if TYPE_CHECKING:
    from admin_cli.tenants.keyring import Added

DAY = timedelta(days=1)
AT_ONCE = 4


class Together(Keyring):
    """A keyring of several runs, none of which writes before all have counted the keys."""

    def __init__(self, world: World) -> None:
        # Truly waits, so that the runs that are in the way get on.
        super().__init__(world.table, Trail(world.table, lambda: "local:tester", world.clock))
        self._counted = threading.Barrier(AT_ONCE)
        self._own = threading.local()

    def working(self, client_id: str) -> tuple[ApiKey, ...]:
        found = super().working(client_id)
        self._own.reads = getattr(self._own, "reads", 0) + 1
        if self._own.reads == 2:  # the first is to tidy up
            self._counted.wait(30)
        return found


def place(world: World, count: int) -> list[ApiKey]:
    """Store so many keys that work, without their doors in API Gateway."""
    made = [a_key(gateway_key_id="gw") for _ in range(count)]
    with world.table.batch_writer() as batch:
        for key in made:
            for item in records.api_key_items(key):
                batch.put_item(Item=item)
    return made


def test_of_keys_issued_at_once_as_many_are_made_as_there_is_room(world: World) -> None:
    room = 2
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    place(world, MOST_KEYS - room)
    conflicts = isolate_transactions(world.table, meeting=True)
    registry = world.registry(keyring=Together(world))

    def issue(_: int) -> str:
        try:
            registry.issue_key("acme")
        except CliError as refused:
            return refused.message
        return "made"

    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = sorted(threads.map(issue, range(AT_ONCE)))
    assert conflicts
    full = "client acme has 100 keys that work: revoke one first"
    assert made == [full] * (AT_ONCE - room) + ["made"] * room
    assert len(world.keyring.working("acme")) == MOST_KEYS
    assert len(world.admitted()) == room
    world.audited()


def test_a_client_has_room_to_rotate_as_many_again_and_no_more(world: World) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    old = place(world, 2 * MOST_KEYS - 1)
    world.registry().rotate_key(old[0].id, DAY)
    with pytest.raises(CliError, match="has 200 keys that work"):
        world.registry().rotate_key(old[1].id, DAY)
    assert world.registry().key(old[1].id) == old[1]
    assert len(world.keyring.working("acme")) == 2 * MOST_KEYS


MOST = 2


class Limit(RuleBasedStateMachine):
    """Any row of keys that are made, overtaken, killed, revoked, filed or left to expire."""

    @initialize()
    def begin(self) -> None:
        self.mock = mock_aws()
        self.mock.start()
        self.world = World(make_table(), *make_api(), FixedClock(NOON))
        self.world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
        self.made = list[ApiKey]()

    def teardown(self) -> None:
        if hasattr(self, "mock"):
            self.mock.stop()

    def alive(self) -> int:
        """Count the keys that the model knows to work."""
        return sum(works(key, self.world.clock()) for key in self.made)

    def new(self, hours: int) -> ApiKey:
        now = self.world.clock()
        ends = now + timedelta(hours=hours)
        return a_key(created_at=now, expires_at=ends, gateway_key_id="gw")

    def add(self, key: ApiKey, keyring: Keyring | None = None) -> None:
        before = self.alive()
        outcome = (keyring or self.world.keyring).add_key(key, MOST)
        if outcome == "stored":
            self.made.append(key)
        if keyring is None:
            assert (outcome == "full") == (before >= MOST)

    @rule(hours=st.integers(1, 9))
    def issue(self, hours: int) -> None:
        self.add(self.new(hours))

    @rule(hours=st.integers(1, 9), by=st.integers(1, 2))
    def be_overtaken(self, hours: int, by: int) -> None:
        """Others are made between this one's count and its write."""
        left, model = [by], self

        class Slow(Keyring):
            def working(self, client_id: str) -> tuple[ApiKey, ...]:
                found = super().working(client_id)
                if left[0]:
                    left[0] -= 1
                    model.add(model.new(hours))
                return found

        self.add(self.new(hours), Slow(self.world.table, self.world.trail))

    @rule(hours=st.integers(1, 9), late=st.booleans())
    def die(self, hours: int, *, late: bool) -> None:
        """The process ends on either side of the write."""
        key, was = self.new(hours), self.alive()

        def die(**_: object) -> None:
            raise Killed

        events = self.world.table.meta.client.meta.events
        moment = f"{'after' if late else 'before'}-call.dynamodb.TransactWriteItems"
        events.register(moment, die)
        outcome: Added | None = None
        try:
            outcome = self.world.keyring.add_key(key, MOST)
        except Killed:
            if late:
                self.made.append(key)
        finally:
            events.unregister(moment, die)
        assert (outcome == "full") == (was >= MOST)

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        if self.made:
            index = data.draw(st.integers(0, len(self.made) - 1))
            self.made[index] = self.world.keyring.revoke_key(self.made[index], self.world.clock())

    @rule(hours=st.integers(1, 5))
    def wait(self, hours: int) -> None:
        self.world.clock.advance(hours * 3600)

    @rule()
    def file_the_expired(self) -> None:
        for key in self.made:
            if not works(key, self.world.clock()):
                self.world.keyring.file_ended(key)

    @invariant()
    def the_table_has_what_was_made_and_no_more_than_it_may(self) -> None:
        if not hasattr(self, "world"):
            return
        now, recorded = self.world.clock(), self.world.keyring.keys("acme")
        assert [key.id for key in recorded] == sorted(key.id for key in self.made)
        assert sum(works(key, now) for key in recorded) == self.alive() <= MOST


TestLimit = Limit.TestCase
TestLimit.settings = settings(max_examples=5, stateful_step_count=8, deadline=None)
