"""Webhooks as the command line writes them: every change is one transaction with the audit trail.

The URL is part of the client's record, which each request reads; the signing secrets are a record
of their own. Both are written together, so there is no URL without a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.tenants.audited import AuditedTable, told_url
from chalicelib.delivery.address import AddressRefused, parse
from chalicelib.delivery.signature import new_secret
from chalicelib.domain import SigningSecrets
from chalicelib.tenants import records
from chalicelib.tenants.audit import Change
from chalicelib.tenants.dynamo import batch_get
from chalicelib.tenants.transactions import THERE
from chalicelib.tenants.webhooks import (
    DynamoHealthStore,
    health_key,
    secrets_item,
    secrets_key,
    secrets_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Client
    from chalicelib.ports import Clock
    from chalicelib.tenants.audit import Trail
    from chalicelib.tenants.records import Item


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a client's events go. `rotating_until`: so long the former secret signs as well.

    `failing_since`: when nothing has succeeded since; `off_since`: when it was switched off, and
    `off_because`.
    """

    client: str
    url: str
    rotating_until: datetime | None
    failing_since: datetime | None = None
    off_since: datetime | None = None
    off_because: str = ""


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """A webhook and, this once, its new secret; None when it keeps the one it has."""

    secret: str | None = field(repr=False)
    webhook: Webhook


class WebhookRegistry:
    """Webhooks of one stage. Every method may raise CliError or StorageUnavailable.

    `loopback`: whether they may lead to this very machine.
    """

    def __init__(self, table: Table, trail: Trail, clock: Clock, *, loopback: bool) -> None:
        self._audited = AuditedTable(table, trail)
        self._health = DynamoHealthStore(table)
        self._clock = clock
        self._loopback = loopback

    def webhook(self, client_id: str) -> Webhook:
        """Return a client's webhook. Raises CliError when it has none."""
        client, secrets = self._read(client_id)
        if client.webhook is None or secrets is None:
            raise CliError(f"client {client_id} has no webhook: see `webhooks set`")
        return self._view(client_id, client.webhook, secrets)

    def webhooks(self, clients: Iterable[Client]) -> tuple[Webhook, ...]:
        """Return the webhooks of these clients, of those that have one."""
        read = (self._read(one.id) for one in clients if one.webhook and one.deleting_at is None)
        return tuple(
            self._view(client.id, client.webhook, secrets)
            for client, secrets in read
            if client.webhook is not None and secrets is not None
        )

    def resume(self, client_id: str) -> bool:
        """Forget how a webhook has fared; False when it was not switched off.

        Raises CliError without a webhook.
        """
        if self.webhook(client_id).off_since is None:
            return False

        def plan() -> Change | None:
            known = self._health.health(client_id)
            if known.off_since is None:
                return None
            before = {"off_since": _text(known.off_since), "off_because": known.off_because}
            writes = [self._audited.delete(health_key(client_id))]
            return Change("webhook.resume", client_id, client_id, before, None, writes)

        return self._audited.trail.commit(plan) is not None

    def set(self, client_id: str, url: str) -> SignedWebhook:
        """Send a client's events to `url`, signed with a new secret if there is none yet.

        Raises CliError for a URL that no webhook may have.
        """
        try:
            parse(url, loopback=self._loopback)
        except AddressRefused as refused:
            raise CliError(refused.reason.rstrip(".")) from refused
        fresh: SigningSecrets | None = None
        standing: SigningSecrets | None = None

        def plan() -> Change | None:
            nonlocal fresh, standing
            client, known = self._read(client_id)
            fresh = SigningSecrets(current=new_secret()) if known is None else None
            standing = known or fresh
            if fresh is None and client.webhook == url:
                return None
            writes = [self._point(client_id, client.webhook, url)]
            if fresh is not None:
                writes.append(self._audited.put(secrets_item(client_id, fresh)))
            before = {"webhook": told_url(client.webhook)}
            # Two paths of one host would look alike in the trail, so it says that it was changed.
            after = {"webhook": told_url(url), "secret": "kept" if fresh is None else "new"}
            return Change("webhook.set", client_id, client_id, before, after, writes)

        self._audited.trail.commit(plan)
        if standing is None:
            raise AssertionError("a webhook without a secret")
        view = self._view(client_id, url, standing)
        return SignedWebhook(None if fresh is None else fresh.current, view)

    def rotate(self, client_id: str, overlap: timedelta) -> SignedWebhook:
        """Make a new secret; the one of now signs as well until `overlap` has passed.

        One that was being rotated out already ends at once. Raises CliError without a webhook.
        """
        fresh = SigningSecrets(current=new_secret())
        url = ""

        def plan() -> Change:
            nonlocal fresh, url
            client, known = self._read(client_id)
            if client.webhook is None or known is None:
                raise CliError(f"client {client_id} has no webhook: see `webhooks set`")
            url = client.webhook
            fresh = SigningSecrets(
                current=fresh.current, former=known.current, former_until=self._clock() + overlap
            )
            before = {"former_until": _text(known.former_until)}
            after = {"former_until": _text(fresh.former_until)}
            writes = [self._audited.replace(secrets_item(client_id, fresh))]
            return Change("webhook.rotate", client_id, client_id, before, after, writes)

        self._audited.trail.commit(plan)
        return SignedWebhook(fresh.current, self._view(client_id, url, fresh))

    def remove(self, client_id: str) -> bool:
        """Send no more events anywhere and forget the secrets; False when there is no webhook."""

        def plan() -> Change | None:
            client, known = self._read(client_id)
            if client.webhook is None and known is None:
                return None
            writes = [
                self._point(client_id, client.webhook, None),
                self._audited.delete(secrets_key(client_id)),
                self._audited.delete(health_key(client_id)),
            ]
            before = {"webhook": told_url(client.webhook)}
            return Change("webhook.remove", client_id, client_id, before, None, writes)

        return self._audited.trail.commit(plan) is not None

    def _read(self, client_id: str) -> tuple[Client, SigningSecrets | None]:
        keys = [records.client_key(client_id), secrets_key(client_id)]
        found = {item["sk"]: item for item in batch_get(self._audited.table, keys)}
        if keys[0]["sk"] not in found:
            raise CliError(f"there is no client {client_id}")
        client = records.client_of(found[keys[0]["sk"]])
        if client.deleting_at is not None:
            raise CliError(f"client {client_id} is being deleted: run `clients delete` again")
        secrets = found.get(keys[1]["sk"])
        return client, None if secrets is None else secrets_of(secrets)

    def _point(self, client_id: str, before: str | None, after: str | None) -> Any:  # noqa: ANN401
        """Return the write of a client's URL, which holds only while the record is as it was."""
        key: Item = records.client_key(client_id)
        if after is not None:
            return self._audited.update(key, {"webhook": before}, {"webhook": after})
        removal: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._audited.table.name,
                "Key": key,
                "UpdateExpression": "REMOVE webhook",
                "ConditionExpression": THERE,
            }
        }
        return removal

    def _view(self, client_id: str, url: str, secrets: SigningSecrets) -> Webhook:
        both = len(secrets.in_force(self._clock())) > 1
        until, health = secrets.former_until if both else None, self._health.health(client_id)
        if health.url != url:
            return Webhook(client_id, url, until)
        fared = (health.failing_since, health.off_since, health.off_because)
        return Webhook(client_id, url, until, *fared)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
