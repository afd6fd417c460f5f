"""Where the API answers, as the last deploy has recorded it in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.errors import StorageUnavailable
from chalicelib.tenants.dynamo import batch_get

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

# `admin_cli/deploying/deployment_record.py` writes it.
DEPLOYMENT_KEY = {"pk": "STAGE", "sk": "DEPLOYMENT"}


class DeploymentReader:
    """Reads the record once for each process: an API keeps its address over all its deploys."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._api_url: str | None = None

    def api_url(self) -> str:
        """Return the URL that routes are appended to. Raises StorageUnavailable, also without one.

        A function can be there a moment before its deploy is recorded; then it is asked again.
        """
        if self._api_url is None:
            found = batch_get(self._table, [DEPLOYMENT_KEY])
            if not found:
                raise StorageUnavailable("The deployment is not recorded yet.")
            self._api_url = str(found[0]["api_url"])
        return self._api_url
