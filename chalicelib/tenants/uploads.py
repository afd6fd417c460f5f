"""Uploads that have become studies: their forms may still take bytes, which nobody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, query_behind, translated
from chalicelib.tenants.reading import readable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import SpentUpload
    from chalicelib.ports import Unreadable

# How many of one shard are read at once, and at most yielded: the next sweep sees what is left.
AT_ONCE = 250


class DynamoSpentUploads:
    """Satisfies `ports.SpentUploads` with the table. Every method raises StorageUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def made_before(
        self, moment: datetime, unreadable: Unreadable | None = None
    ) -> Iterator[SpentUpload]:
        """Yield those whose form was made before `moment`, the oldest of each shard first.

        `unreadable` is told of records that do not validate.
        """
        for shard in range(records.SPENT_SHARDS):
            wanted = Slice(
                records.spent_partition(shard), index=records.INDEX, until=records.moment(moment)
            )
            found = query_behind(self._table, wanted, AT_ONCE)
            yield from readable(found, records.spent_of, unreadable)

    def forget(self, upload: SpentUpload) -> None:
        """Forget one, since nothing can lie at its name any more; twice is no error."""
        with translated():
            self._table.delete_item(Key=records.upload_key(upload.client_id, upload.id))
