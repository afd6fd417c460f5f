"""Whether the table is protected, as a parameter of the emitted template that stays open.

A creation that fails has to be undone, which CloudFormation cannot do to a protected table. So
whoever deploys the template protects the table by the second update and not by the first.
"""

from __future__ import annotations

from typing import Any

PARAMETER = "Protected"
_TABLE = "Table"
_PROPERTY = "DeletionProtectionEnabled"


def put_protection(template: dict[str, Any]) -> dict[str, Any]:
    """Return the settled template with the parameter that decides it.

    Unchanged where the stage's table is never protected, as on stage local.
    """
    table = template["Resources"][_TABLE]
    if not table["Properties"][_PROPERTY]:
        return template
    parameter = {
        "Type": "String",
        # Left out, it protects: forgotten at an update, a default of no would open the table.
        "Default": "true",
        "AllowedValues": ["true", "false"],
        "Description": "false for the creation of the stack, true for an update right after it.",
    }
    properties = {**table["Properties"], _PROPERTY: {"Ref": PARAMETER}}
    return {
        **template,
        "Parameters": {**template["Parameters"], PARAMETER: parameter},
        "Resources": {**template["Resources"], _TABLE: {**table, "Properties": properties}},
    }
