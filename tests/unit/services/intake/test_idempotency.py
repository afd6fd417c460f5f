"""An idempotency key makes one study."""

from __future__ import annotations

import pytest

from chalicelib.errors import IdempotencyConflict
from tests.fakes.intake import FakeIntake
from tests.fakes.values import a_caller, a_client, a_key
from tests.unit.services.conftest import caller_with
from tests.unit.services.intake.conftest import IMAGE, Bench, LateIntake, a_word


def test_a_key_makes_one_study_and_keeps_its_bytes_once(bench: Bench) -> None:
    caller = a_caller()
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_loser_of_a_race_of_one_key_keeps_no_bytes() -> None:
    bench, caller = Bench(intake_type=LateIntake), a_caller()
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


@pytest.mark.parametrize("intake_type", [FakeIntake, LateIntake])
def test_a_key_with_another_body_is_a_conflict(intake_type: type[FakeIntake]) -> None:
    bench, caller = Bench(intake_type=intake_type), a_caller()
    bench.service.enqueue(caller, IMAGE, a_word())
    with pytest.raises(IdempotencyConflict):
        bench.service.enqueue(caller, IMAGE, a_word(request="b"))
    assert bench.left(caller) == (1, 1, 1, 1)


def test_a_known_key_is_answered_although_the_units_are_used_up(bench: Bench) -> None:
    caller = caller_with(units=1)
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first


def test_a_test_and_a_live_study_do_not_share_a_key(bench: Bench) -> None:
    live, test = a_caller(), a_caller(key=a_key(mode="test"))
    tried = bench.service.enqueue(test, IMAGE, a_word())
    made = bench.service.enqueue(live, IMAGE, a_word())
    assert (tried.mode, made.mode) == ("test", "live")
    assert bench.left(live) == (2, 1, 2, 2)
    assert bench.service.enqueue(live, IMAGE, a_word()) == made
    assert bench.service.enqueue(test, IMAGE, a_word()) == tried


def test_the_keys_of_a_client_share_what_was_made_with_a_word(bench: Bench) -> None:
    client = a_client()
    first = bench.service.enqueue(a_caller(client, a_key()), IMAGE, a_word())
    assert bench.service.enqueue(a_caller(client, a_key()), IMAGE, a_word()) == first
