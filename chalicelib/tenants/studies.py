"""Studies in the table, each in its client's partition, metered as they are stored."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from chalicelib.domain import Study, StudyId, StudyPage
from chalicelib.errors import InvalidRequest, NotFound
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated
from chalicelib.tenants.metering import units
from chalicelib.tenants.transactions import Store, put, transact

if TYPE_CHECKING:
    from chalicelib.domain import Caller, StudyStatus
    from chalicelib.tenants.records import Item

_MARK_LENGTH = 8  # characters of a cursor that bind it to its client
_study_id = TypeAdapter[str](StudyId)


class DynamoStudyStore(Store):
    """Keeps studies in the table."""

    def add(self, caller: Caller, study: Study) -> None:
        """Store a new study and, for a live key, meter one unit, both or neither.

        The unit belongs to the period of the study's `created_at`. A study that is there
        already stays as it is and is not metered again, so a retried event is harmless.
        Raises QuotaExceeded (nothing is stored) or StorageUnavailable.
        """
        new = put(self.table, records.study_item(caller.client.id, study))
        metered_at = study.created_at if caller.key.mode == "live" else None
        for unit in units(self, caller.client, study.id, metered_at):
            there_already, *without_unit = transact(self.table, [new, *unit.writes], self.pause)
            if there_already or not any(without_unit):
                return

    def get(self, client_id: str, study_id: str) -> Study:
        """Return a study without its link. Raises NotFound or StorageUnavailable."""
        item = None
        if is_study_id(study_id):
            with translated():
                item = self.table.get_item(
                    Key=records.study_key(client_id, study_id), ConsistentRead=True
                ).get("Item")
        if item is None:
            raise NotFound("There is no study with this id.")
        return records.study_of(item)

    def page(
        self, client_id: str, limit: int, cursor: str | None, status: StudyStatus | None
    ) -> StudyPage:
        """Return at most `limit` (1 or more) studies, newest first, without links.

        Raises InvalidRequest for a cursor that is broken or another client's, and
        StorageUnavailable.
        """
        before = None if cursor is None else _read_cursor(client_id, cursor)
        # One more than asked for tells whether there is a next page.
        found = self._newest(client_id, status, before, limit + 1)
        more, found = len(found) > limit, found[:limit]
        last = found[-1] if more else None
        if status is not None:
            keys = [records.study_key(client_id, item["gsi1sk"]) for item in found]
            found = batch_get(self.table, keys)
        studies = [records.study_of(item) for item in found]
        return StudyPage(
            # The index lags: what has moved on to another status meanwhile is left out.
            items=tuple(study for study in studies if status in {None, study.status}),
            next_cursor=None if last is None else _write_cursor(client_id, last["gsi1sk"]),
        )

    def _newest(
        self, client_id: str, status: StudyStatus | None, before: str | None, at_most: int
    ) -> list[Item]:
        after = None if before is None else records.study_key(client_id, before)
        if status is None:
            wanted = Slice(
                records.partition(client_id),
                prefix=records.STUDY_PREFIX,
                newest_first=True,
                after=after,
            )
        else:
            inside = records.status_partition(client_id, status)
            wanted = Slice(
                inside,
                index=records.INDEX,
                newest_first=True,
                after=after and after | {"gsi1pk": inside, "gsi1sk": before},
            )
        return query(self.table, wanted, at_most)


def is_study_id(text: str) -> bool:
    """Tell whether a text can be the id of a study."""
    try:
        _study_id.validate_python(text)
    except ValidationError:
        return False
    return True


def _write_cursor(client_id: str, study_id: str) -> str:
    """Return the place after a study: its id, bound to the client by a mark."""
    mark = hashlib.sha256(f"{client_id}/{study_id}".encode()).hexdigest()[:_MARK_LENGTH]
    return base64.urlsafe_b64encode(f"{mark}{study_id}".encode()).decode().rstrip("=")


def _read_cursor(client_id: str, cursor: str) -> str:
    """Return the study id of a cursor. Raises InvalidRequest unless we wrote it for this client."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        study_id = base64.b64decode(padded, altchars=b"-_").decode("ascii")[_MARK_LENGTH:]
    except ValueError:  # of base64, of ASCII, or a cursor that is not ASCII itself
        study_id = ""
    if not is_study_id(study_id) or _write_cursor(client_id, study_id) != cursor:
        raise InvalidRequest("The cursor is not one that this list gave out.")
    return study_id
