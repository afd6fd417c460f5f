"""Our signatures, verified by the specification's own library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from chalicelib.delivery import signature
from chalicelib.domain import SigningSecrets

ID = "evt_01JD8Z5M3Q4R6S7T8V9W0XYZAB"


def test_a_secret_has_the_form_and_is_fresh() -> None:
    made = {signature.new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


@given(st.binary(max_size=300).map(lambda body: b'{"x":"' + body.hex().encode() + b'"}'))
def test_the_library_takes_our_signature(body: bytes) -> None:
    secret = signature.new_secret()
    headers = signature.headers([secret], ID, datetime.now(UTC), body)
    assert Webhook(secret).verify(body, headers)


def test_the_library_refuses_another_secret_body_id_or_time() -> None:
    secret, now = signature.new_secret(), datetime.now(UTC)
    body = b'{"type":"test"}'
    headers = signature.headers([secret], ID, now, body)
    with pytest.raises(WebhookVerificationError):
        Webhook(signature.new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": "evt_other"})
    old = signature.headers([secret], ID, now - timedelta(hours=1), body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, old)


def test_in_a_rotation_s_overlap_both_secrets_open_it() -> None:
    old, new, body, now = signature.new_secret(), signature.new_secret(), b"{}", datetime.now(UTC)
    secrets = SigningSecrets(current=new, former=old, former_until=now + timedelta(seconds=1))
    headers = signature.headers(secrets.in_force(now), ID, now, body)
    assert headers["webhook-signature"].count(" ") == 1
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    later = now + timedelta(seconds=1)
    assert secrets.in_force(later) == (new,)
    after = signature.headers(secrets.in_force(later), ID, now, body)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, after)


def test_without_a_rotation_one_secret_signs() -> None:
    assert SigningSecrets(current="whsec_x").in_force(datetime.now(UTC)) == ("whsec_x",)
