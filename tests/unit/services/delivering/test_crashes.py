"""Deliveries that are killed between any two of their side effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from chalicelib.errors import StorageUnavailable
from chalicelib.services.delivering import ENDED_BY_ITSELF, HOLD
from tests.fakes.deliveries import FakeCourier, notice_of
from tests.fakes.values import NOON
from tests.unit.services.delivering.conftest import AGAIN, DONE, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from chalicelib.domain import Outcome


class Killed(BaseException):
    """Stands for a process that ends here: no handler of the code under test may catch it."""


@dataclass
class Fuse:
    """Ends the process before, or right after, the call of this number."""

    number: int
    after: bool
    error: type[BaseException] = Killed
    made: int = 0

    def wrap(self, target: Any) -> Any:
        return _Fused(target, self)


class _Fused:
    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        def call(*args: Any) -> Any:
            fuse = self._fuse
            fuse.made += 1
            if fuse.made == fuse.number and not fuse.after:
                raise fuse.error(name)
            answer = method(*args)
            if fuse.made == fuse.number:
                raise fuse.error(name)
            return answer

        return call


# get, advance (claim), client, erased, health, tell, advance (note), send; what is noted of the
# webhook after that is lost without harm
CALLS = 8


def killed_at(number: int, *, after: bool, outcomes: list[Outcome], error: Any) -> World:
    world = World(webhook=FakeCourier(outcomes))
    delivery = world.have()
    fuse = Fuse(number, after, error)
    try:
        world.service(fuse.wrap).deliver(notice_of(delivery))
    except (Killed, StorageUnavailable):
        pass
    else:
        assert fuse.made < number  # there are fewer calls on this path
    world.sweep_until_done(delivery)
    return world


@pytest.mark.parametrize("error", [Killed, StorageUnavailable])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_crash_makes_no_client_hear_nothing(number: int, after: bool, error: Any) -> None:  # noqa: FBT001
    """The sweeper alone carries on: nobody sends the message again."""
    world = killed_at(number, after=after, outcomes=[DONE], error=error)
    told = [one for _, one in world.webhook.told]
    assert 1 <= len(told) <= 2
    assert len({one.id for one in told}) == 1
    [logged] = world.store.log("acme", 10)
    assert (logged.status, logged.next_at, logged.last_error) == ("delivered", None, "")
    assert len(told) <= logged.attempt <= 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_crash_at_a_failure_is_made_good_too(number: int, after: bool) -> None:  # noqa: FBT001
    world = killed_at(number, after=after, outcomes=[AGAIN, DONE], error=Killed)
    [logged] = world.store.log("acme", 10)
    assert logged.status == "delivered"
    assert 2 <= logged.attempt <= 3


def test_only_a_crash_between_try_and_note_tells_twice() -> None:
    twice = {
        (number, after)
        for number in range(1, CALLS + 1)
        for after in (False, True)
        if len(killed_at(number, after=after, outcomes=[DONE], error=Killed).webhook.told) == 2
    }
    # After the sixth call, the try itself, and before the seventh, its note.
    assert twice == {(6, True), (7, False)}


def test_a_cut_off_try_says_so_in_the_log() -> None:
    world = World()
    delivery = world.have()
    with pytest.raises(Killed):
        world.service(Fuse(6, after=True).wrap).deliver(notice_of(delivery))
    found = world.now(delivery)
    assert (found.status, found.attempt, found.last_error) == ("pending", 1, ENDED_BY_ITSELF)
    assert cast("datetime", found.next_at) >= NOON + HOLD
