"""The function's own check of keys: what it refuses, in which order, and how long it trusts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import Caller, Scope
from chalicelib.errors import (
    ClientSuspended,
    KeyExpired,
    KeyRevoked,
    KeyUnknown,
    ScopeMissing,
    StorageUnavailable,
)
from chalicelib.services.identity import CACHE_SECONDS, IdentityService
from chalicelib.tenants import keys
from tests.fakes.clock import FixedClock
from tests.fakes.tenants import FakeDirectory
from tests.fakes.values import a_client, a_key

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import ApiKey

SECRET = keys.mint()


class CountingDirectory(FakeDirectory):
    """Counts look-ups."""

    look_ups = 0
    notes = 0
    broken = False

    def identify(self, sha256: str) -> Caller | None:
        self.look_ups += 1
        return super().identify(sha256)

    def note_use(self, key: ApiKey, at: datetime) -> None:
        self.notes += 1
        if self.broken:
            raise StorageUnavailable("The table does not answer.")
        super().note_use(key, at)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def directory() -> CountingDirectory:
    return CountingDirectory()


@pytest.fixture
def service(directory: CountingDirectory, clock: FixedClock) -> IdentityService:
    return IdentityService(directory, keys.fingerprint, clock, clock.monotonic)


def put(directory: FakeDirectory, status: str = "active", **key: Any) -> None:
    directory.put(a_client(status=status), a_key(id="key_1", sha256=keys.sha256(SECRET), **key))


def test_a_good_key_names_its_caller(
    service: IdentityService, directory: CountingDirectory
) -> None:
    put(directory)
    caller = service.verify(SECRET, Scope.STUDIES_WRITE)
    assert (caller.client.id, caller.key.id) == ("acme", "key_1")


@pytest.mark.parametrize(
    "secret",
    [None, "", "rgl", SECRET[:-1], SECRET[:-1] + "é", "x" * 41],
    ids=["none", "empty", "prefix", "too short", "not ASCII", "no prefix"],
)
def test_what_cannot_be_a_key_is_refused_without_a_look_up(
    service: IdentityService, directory: CountingDirectory, secret: str | None
) -> None:
    with pytest.raises(KeyUnknown):
        service.verify(secret, Scope.STUDIES_WRITE)
    assert directory.look_ups == 0


def test_a_key_that_was_never_issued_is_unknown_and_works_once_it_is(
    service: IdentityService, directory: CountingDirectory
) -> None:
    with pytest.raises(KeyUnknown):
        service.verify(SECRET, Scope.STUDIES_WRITE)
    put(directory)
    assert service.verify(SECRET, Scope.STUDIES_WRITE)


def test_a_revoked_key_is_refused(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory, revoked_at=clock.now)
    with pytest.raises(KeyRevoked):
        service.verify(SECRET, Scope.STUDIES_WRITE)


def test_a_key_expires_on_time_even_while_it_is_cached(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory, expires_at=clock.now + timedelta(seconds=5))
    clock.advance(4.9)
    service.verify(SECRET, Scope.STUDIES_WRITE)
    clock.advance(0.1)
    with pytest.raises(KeyExpired):
        service.verify(SECRET, Scope.STUDIES_WRITE)


def test_a_suspended_client_is_refused_with_a_good_key(
    service: IdentityService, directory: CountingDirectory
) -> None:
    put(directory, status="suspended")
    with pytest.raises(ClientSuspended):
        service.verify(SECRET, Scope.STUDIES_WRITE)


def test_a_key_may_only_do_what_it_was_issued_for(
    service: IdentityService, directory: CountingDirectory
) -> None:
    put(directory, scopes=frozenset({Scope.STUDIES_READ}))
    assert service.verify(SECRET, Scope.STUDIES_READ)
    with pytest.raises(ScopeMissing, match="studies:write"):
        service.verify(SECRET, Scope.STUDIES_WRITE)


def test_no_refusal_repeats_the_secret(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    mistyped = SECRET[:-1] + ("0" if SECRET[-1] != "0" else "1")
    put(directory, revoked_at=clock.now)
    for secret in (SECRET, mistyped):
        with pytest.raises((KeyRevoked, KeyUnknown)) as refusal:
            service.verify(secret, Scope.STUDIES_WRITE)
        assert secret[3:35] not in str(refusal.value)


def test_a_key_is_read_once_while_it_is_cached(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory)
    for _ in range(5):
        service.verify(SECRET, Scope.STUDIES_WRITE)
        clock.advance(CACHE_SECONDS / 6)
    assert directory.look_ups == 1


@pytest.mark.parametrize("change", ["revoke", "suspend"])
def test_a_change_holds_within_thirty_seconds(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock, change: str
) -> None:
    put(directory)
    service.verify(SECRET, Scope.STUDIES_WRITE)
    if change == "revoke":
        put(directory, revoked_at=clock.now)
    else:
        put(directory, status="suspended")
    clock.advance(30)
    with pytest.raises((KeyRevoked, ClientSuspended)):
        service.verify(SECRET, Scope.STUDIES_WRITE)


def test_a_process_notes_one_use_a_minute(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory)
    for _ in range(12):
        service.verify(SECRET, Scope.STUDIES_READ)
        clock.advance(15)
    assert directory.notes == 3
    [key] = directory.keys("acme")
    assert key.last_used_at == clock.now - timedelta(seconds=60)


def test_what_another_process_noted_is_not_noted_again(
    directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory, last_used_at=clock.now - timedelta(seconds=59))
    one, other = (
        IdentityService(directory, keys.fingerprint, clock, clock.monotonic) for _ in range(2)
    )
    one.verify(SECRET, Scope.STUDIES_READ)
    assert directory.notes == 0
    clock.advance(25)
    one.verify(SECRET, Scope.STUDIES_READ)
    other.verify(SECRET, Scope.STUDIES_READ)
    assert directory.notes == 1


def test_a_table_that_fails_to_note_a_use_fails_no_request(
    service: IdentityService, directory: CountingDirectory
) -> None:
    put(directory)
    directory.broken = True
    for _ in range(3):
        assert service.verify(SECRET, Scope.STUDIES_READ)
    assert directory.notes == 1


def test_a_refused_use_is_not_noted(
    service: IdentityService, directory: CountingDirectory, clock: FixedClock
) -> None:
    put(directory, revoked_at=clock.now)
    with pytest.raises(KeyRevoked):
        service.verify(SECRET, Scope.STUDIES_READ)
    assert directory.notes == 0
