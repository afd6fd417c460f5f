"""Rotation: the new key works at once, the old one for a while, and no unit is lost or doubled."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from moto import mock_aws

from admin_cli.console import CliError
from admin_cli.tenants.keyring import Keyring
from chalicelib.domain import Scope
from chalicelib.errors import KeyExpired, KeyRevoked, QuotaExceeded
from chalicelib.services.identity import CACHE_SECONDS, IdentityService
from chalicelib.tenants import keys
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_plan, a_study
from tests.integration.admin_cli.conftest import Fuse, Killed, World, make_api
from tests.integration.tenants.conftest import make_table

if TYPE_CHECKING:
    from admin_cli.tenants.registry import IssuedKey
    from chalicelib.domain import ApiKey, Caller, Client

DAY = timedelta(days=1)
ROTATE = [
    *("key", "client", "working", "add_key", "create_key", "add_to_plan", "replace_key"),
]


def create(world: World) -> Client:
    return world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")


def identity(world: World) -> IdentityService:
    """Return the check of a function that has just started, without a cache."""
    directory = DynamoDirectory(world.table)
    return IdentityService(directory, keys.fingerprint, world.clock, world.clock.monotonic)


def works(world: World, issued: IssuedKey) -> bool:
    try:
        identity(world).verify(issued.secret, Scope.STUDIES_READ)
    except (KeyExpired, KeyRevoked):
        return False
    return issued.secret in world.admitted()


def test_both_keys_work_until_the_overlap_ends_and_then_the_new_one_alone(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme", label="pacs", scopes=[Scope.STUDIES_READ])
    new = world.registry().rotate_key(old.key.id, DAY)
    assert new.secret != old.secret
    assert new.key.label == "pacs"
    assert new.key.scopes == {Scope.STUDIES_READ}
    assert (new.key.replaces, new.key.expires_at) == (old.key.id, None)
    ending = world.registry().key(old.key.id)
    assert (ending.replaced_by, ending.expires_at) == (new.key.id, NOON + DAY)
    assert works(world, old)
    assert works(world, new)
    world.clock.advance(DAY.total_seconds() - 0.001)
    assert works(world, old)
    world.clock.advance(0.001)
    assert not works(world, old)
    assert works(world, new)


def test_a_function_that_has_cached_the_old_key_lets_it_go_in_time(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    running = identity(world)
    running.verify(old.secret, Scope.STUDIES_READ)
    world.registry().rotate_key(old.key.id, timedelta(seconds=25))
    world.clock.advance(CACHE_SECONDS + 1)
    running.verify(old.secret, Scope.STUDIES_READ)
    world.clock.advance(25 - CACHE_SECONDS - 1)
    with pytest.raises(KeyExpired):
        running.verify(old.secret, Scope.STUDIES_READ)


def test_a_test_key_is_rotated_into_a_test_key(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme", mode="test")
    new = world.registry().rotate_key(old.key.id, DAY)
    assert keys.read(new.secret) == new.key.mode == "test"


def test_the_new_key_lives_as_long_as_the_old_one_was_made_for(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme", expires_in=90 * DAY)
    world.clock.advance(80 * DAY.total_seconds())
    new = world.registry().rotate_key(old.key.id, DAY)
    assert new.key.expires_at == NOON + 170 * DAY


def test_an_overlap_never_lengthens_the_old_key_s_life(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme", expires_in=DAY)
    world.registry().rotate_key(old.key.id, 30 * DAY)
    assert world.registry().key(old.key.id).expires_at == NOON + DAY


def test_a_second_rotation_of_the_old_key_names_the_new_one_and_changes_nothing(
    world: World,
) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    new = world.registry().rotate_key(old.key.id, DAY)
    before = world.registry().keys("acme")
    with pytest.raises(CliError, match=f"rotate {new.key.id}"):
        world.registry().rotate_key(old.key.id, 2 * DAY)
    assert world.registry().keys("acme") == before


def test_the_new_key_can_be_rotated_during_the_overlap(world: World) -> None:
    create(world)
    first = world.registry().issue_key("acme")
    second = world.registry().rotate_key(first.key.id, DAY)
    third = world.registry().rotate_key(second.key.id, timedelta(hours=1))
    assert [works(world, key) for key in (first, second, third)] == [True, True, True]
    world.clock.advance(3600)
    assert [works(world, key) for key in (first, second, third)] == [True, False, True]
    world.clock.advance(23 * 3600)
    assert [works(world, key) for key in (first, second, third)] == [False, False, True]


def test_revoking_one_of_the_two_leaves_the_other(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    new = world.registry().rotate_key(old.key.id, DAY)
    world.registry().revoke_key(new.key.id)
    assert [works(world, key) for key in (old, new)] == [True, False]


@pytest.mark.parametrize("state", ["revoked", "expired", "unfinished"])
def test_a_key_that_does_not_work_is_not_rotated(world: World, state: str) -> None:
    create(world)
    if state == "unfinished":
        with pytest.raises(Killed):
            world.registry(fuse=Fuse(4)).issue_key("acme")
    else:
        key_id = world.registry().issue_key("acme", expires_in=DAY).key.id
        if state == "revoked":
            world.registry().revoke_key(key_id)
        world.clock.advance(DAY.total_seconds())
    [key] = world.registry().keys("acme")
    before = world.audited()
    with pytest.raises(CliError, match=f"{state}|has {state}"):
        world.registry().rotate_key(key.id, DAY)
    assert world.audited() == before


def test_the_trail_tells_a_rotation_as_one_change_of_the_old_key(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    new = world.registry().rotate_key(old.key.id, DAY)
    told = world.audited()[-1]
    assert (told.action, told.subject) == ("key.rotate", old.key.id)
    assert told.before == {"expires_at": None, "replaced_by": None}
    assert told.after == {"expires_at": (NOON + DAY).isoformat(), "replaced_by": new.key.id}
    assert not any(new.secret in entry.document() for entry in world.audited())


# --- crashes and races ------------------------------------------------------------------


def test_the_steps_of_a_rotation_are_the_ones_that_are_killed_below(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    fuse = Fuse(99)
    world.registry(fuse=fuse).rotate_key(old.key.id, DAY)
    assert fuse.made == ROTATE


@pytest.mark.parametrize("calls", range(len(ROTATE)))
def test_a_crash_in_a_rotation_leaves_the_old_key_as_it_was(world: World, calls: int) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    fuse = Fuse(calls)
    with pytest.raises(Killed):
        world.registry(fuse=fuse).rotate_key(old.key.id, DAY)
    assert fuse.made == ROTATE[:calls]
    assert world.registry().key(old.key.id) == old.key
    world.clock.advance(121)
    new = world.registry().rotate_key(old.key.id, DAY)
    # Nothing is left of the run that died: two keys, two pointers each, both doors alike.
    assert [key.id for key in world.registry().keys("acme")] == [old.key.id, new.key.id]
    assert world.admitted() == set(world.keys_in_gateway().values()) == {old.secret, new.secret}
    assert world.records("HASH#") == ["HASH"] * 2
    world.audited()


def test_of_two_rotations_at_once_one_wins_and_the_other_leaves_nothing(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")
    winners: list[IssuedKey] = []

    class Slow(Keyring):
        def replace_key(
            self, old: ApiKey, new: ApiKey, gateway_key_id: str, until: datetime
        ) -> ApiKey | None:
            winners.append(world.registry().rotate_key(old.id, DAY))
            return super().replace_key(old, new, gateway_key_id, until)

    with pytest.raises(CliError, match="nothing was changed"):
        world.registry(keyring=Slow(world.table, world.trail)).rotate_key(old.key.id, DAY)
    [winner] = winners
    assert world.admitted() == {old.secret, winner.secret}
    assert [key.id for key in world.registry().keys("acme")] == [old.key.id, winner.key.id]
    assert world.registry().key(old.key.id).replaced_by == winner.key.id


def test_a_revocation_that_comes_between_wins(world: World) -> None:
    create(world)
    old = world.registry().issue_key("acme")

    class Slow(Keyring):
        def replace_key(
            self, old: ApiKey, new: ApiKey, gateway_key_id: str, until: datetime
        ) -> ApiKey | None:
            world.registry().revoke_key(old.id)
            return super().replace_key(old, new, gateway_key_id, until)

    with pytest.raises(CliError, match="nothing was changed"):
        world.registry(keyring=Slow(world.table, world.trail)).rotate_key(old.key.id, DAY)
    assert world.admitted() == set()
    assert world.registry().key(old.key.id).replaced_by is None


# --- quota ------------------------------------------------------------------------------

LIMIT = 6


class RotationAndQuota(RuleBasedStateMachine):
    """Any row of rotations, revocations, hours and studies: the client's units stay exact."""

    @initialize()
    def begin(self) -> None:
        self.mock = mock_aws()
        self.mock.start()
        self.world = World(make_table(), *make_api(), FixedClock(NOON))
        plans = {"clinic": a_plan(LIMIT)}
        self.registry = self.world.registry(plans=plans)
        self.registry.create_client("acme", "Acme", "it@acme.example", "clinic")
        self.identity = identity(self.world)
        self.store = DynamoStudyStore(self.world.table, self.world.clock)
        self.used = 0
        # What the model knows of each key: its end, and whether it was replaced.
        self.issued: list[IssuedKey] = [self.registry.issue_key("acme")]
        self.ends: list[datetime | None] = [None]
        self.revoked = [False]
        self.replaced = [False]

    def teardown(self) -> None:
        if hasattr(self, "mock"):
            self.mock.stop()

    def alive(self, index: int) -> bool:
        end = self.ends[index]
        return not self.revoked[index] and (end is None or end > self.world.clock())

    @precondition(lambda self: len(self.issued) < 5)
    @rule(data=st.data(), hours=st.integers(1, 48))
    def rotate(self, data: st.DataObject, hours: int) -> None:
        index = data.draw(st.integers(0, len(self.issued) - 1))
        possible = self.alive(index) and not self.replaced[index]
        overlap = timedelta(hours=hours)
        try:
            new = self.registry.rotate_key(self.issued[index].key.id, overlap)
        except CliError:
            assert not possible
            return
        assert possible
        until, end = self.world.clock() + overlap, self.ends[index]
        self.ends[index] = until if end is None else min(end, until)
        self.replaced[index] = True
        self.issued.append(new)
        self.ends.append(None)
        self.revoked.append(False)
        self.replaced.append(False)

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.issued) - 1))
        self.registry.revoke_key(self.issued[index].key.id)
        self.revoked[index] = True
        self.world.clock.advance(CACHE_SECONDS)

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        if self.world.clock().day + 2 < 30:  # within the month, so the units stay used
            self.world.clock.advance(hours * 3600)

    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.issued) - 1))
        try:
            caller: Caller = self.identity.verify(self.issued[index].secret, Scope.STUDIES_WRITE)
        except (KeyExpired, KeyRevoked):
            assert not self.alive(index)
            return
        assert self.alive(index)
        try:
            self.store.add(caller, a_study(created_at=self.world.clock()))
        except QuotaExceeded:
            assert self.used == LIMIT
        else:
            self.used += 1

    @invariant()
    def units_are_exact(self) -> None:
        if not hasattr(self, "world"):
            return
        ledger = DynamoLedger(self.world.table, self.world.clock)
        assert ledger.usage(self.registry.client("acme")).used == self.used <= LIMIT


TestRotationAndQuota = RotationAndQuota.TestCase
TestRotationAndQuota.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
