"""The table as the foundation defines it, for whoever makes one without CloudFormation."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from typing import Any

from admin_cli.foundation import TEMPLATE

_MADE_WITH = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


def table_definition(projection: str = "") -> Any:
    """Return what `create_table` takes besides the name; with `projection` the index has that."""
    definition = json.loads(_in_template())
    if projection:
        for index in definition["GlobalSecondaryIndexes"]:
            index["Projection"] = {"ProjectionType": projection}
    return definition


@cache
def _in_template() -> str:
    document, problems = import_module("cfnlint.decode").decode(str(TEMPLATE))
    assert not problems
    properties = document["Resources"]["Table"]["Properties"]
    return json.dumps({name: properties[name] for name in _MADE_WITH})
