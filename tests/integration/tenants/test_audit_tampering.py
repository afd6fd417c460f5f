"""Whoever tampers with the audit trail: the first entry that is amiss is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.tenants import audit
from chalicelib.tenants.audit_check import verify
from tests.integration.tenants.chain import add, check, trail_of
from tests.integration.tenants.conftest import make_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.service_resource import Table


def rewrite(table: Table, number: int, **fields: Any) -> None:
    key = audit.entry_key(audit.sort_key(number))
    table.put_item(Item=table.get_item(Key=key)["Item"] | fields)


def remove(table: Table, number: int) -> None:
    table.delete_item(Key=audit.entry_key(audit.sort_key(number)))


def forge(table: Table, first: int) -> None:
    """Change one entry and write all that follow anew, as someone with all rights could."""
    entries = list(trail_of(table).latest(100))[::-1]
    previous = entries[first - 1].previous
    for entry in entries[first - 1 :]:
        told = entry.model_copy(update={"actor": "nobody", "previous": previous})
        item = audit.entry_item(told)
        table.put_item(Item=item)
        previous = item["hash"]
    table.put_item(Item={**audit.HEAD_KEY, "number": len(entries), "hash": previous})


def edit_text(table: Table, number: int) -> None:
    text = table.get_item(Key=audit.entry_key(audit.sort_key(number)))["Item"]["document"]
    rewrite(table, number, document=str(text).replace("ann", "bob"))


def edit_text_and_hash(table: Table, number: int) -> None:
    text = str(table.get_item(Key=audit.entry_key(audit.sort_key(number)))["Item"]["document"])
    told = json.dumps(json.loads(text) | {"previous": "0" * 64})
    rewrite(table, number, document=told, hash=audit.sha256(told))


def swap(table: Table, number: int) -> None:
    keys = [audit.entry_key(audit.sort_key(n)) for n in (number, number + 1)]
    items = [table.get_item(Key=key).get("Item", {}) for key in keys]
    rewrite(table, number, document=items[1]["document"], hash=items[1]["hash"])
    rewrite(table, number + 1, document=items[0]["document"], hash=items[0]["hash"])


def refile(table: Table, number: int) -> None:
    rewrite(table, number, gsi1pk=audit.index_partition("other"))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tamper=st.sampled_from([edit_text, edit_text_and_hash, remove, swap, refile]),
    number=st.integers(1, 5),
)
def test_the_first_entry_that_is_amiss_is_named(
    tamper: Callable[[Table, int], None], number: int
) -> None:
    with mock_aws():
        table = make_table()
        add(table, 6)
        tamper(table, number)
        broken = check(table).broken
        assert broken is not None
        assert broken.number == number


def test_an_end_that_was_cut_off_is_named(table: Table) -> None:
    add(table, 5)
    for number in (5, 4):
        remove(table, number)
    broken = check(table).broken
    assert broken is not None
    assert (broken.number, broken.reason) == (
        4,
        "is missing, as is all up to 5: the end was cut off",
    )


@pytest.mark.parametrize("number", [None, 3])
def test_a_head_that_was_moved_back_is_named(table: Table, number: int | None) -> None:
    entries = add(table, 5)
    if number is None:
        table.delete_item(Key=audit.HEAD_KEY)
    else:
        was = entries[number].previous
        table.put_item(Item={**audit.HEAD_KEY, "number": number, "hash": was})
    broken = check(table).broken
    assert broken is not None
    assert broken.number == (number or 0) + 1


def test_a_last_entry_that_was_written_anew_is_named_by_the_head(table: Table) -> None:
    add(table, 3)
    last = trail_of(table).latest(1)[0].model_copy(update={"actor": "nobody"})
    table.put_item(Item=audit.entry_item(last))
    broken = check(table).broken
    assert broken is not None
    assert broken.number == 3


def test_a_chain_that_was_rewritten_whole_is_found_by_the_anchor_alone(table: Table) -> None:
    add(table, 3)
    kept = check(table).anchor
    add(table, 2)
    assert check(table, kept).broken is None
    forge(table, 2)
    assert check(table).broken is None
    broken = check(table, kept).broken
    assert broken is not None
    assert broken.number == 3


def test_an_end_that_was_cut_off_with_its_head_is_found_by_the_anchor(table: Table) -> None:
    entries = add(table, 3)
    kept = check(table).anchor
    remove(table, 3)
    table.put_item(Item={**audit.HEAD_KEY, "number": 2, "hash": entries[2].previous})
    assert check(table).broken is None
    broken = check(table, kept).broken
    assert broken is not None
    assert broken.number == 3


def test_a_chain_of_another_stage_is_no_chain_of_this_one(table: Table) -> None:
    add(table, 1)
    trail = trail_of(table)
    broken = verify("radgate-other", trail.head, trail.records).broken
    assert broken is not None
    assert broken.number == 1
