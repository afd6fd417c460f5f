"""Names that a deploy reads from the foundation, written into a template as references to it.

The project is staged with placeholders in place of the stack's outputs; here each is replaced by
the expression that gives the output its value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from admin_cli.foundation import Foundation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin_cli.deploying.stage_settings import StageSettings

PLACEHOLDERS: dict[str, Any] = {
    "Partition": {"Ref": "AWS::Partition"},
    "Region": {"Ref": "AWS::Region"},
    "AccountId": {"Ref": "AWS::AccountId"},
}
_MARK = re.compile(r"@\{([A-Za-z]+)\}")
_OF_NETWORK = (
    "FunctionSubnetA",
    "FunctionSubnetB",
    "FunctionSecurityGroupId",
    "FileSystemId",
    "AccessPointArn",
)


def placeholder_foundation(settings: StageSettings) -> Foundation:
    """A foundation whose values are placeholders, without a network where the stage has none."""
    values = {name: f"@{{{name}}}" for name in Foundation.model_fields}
    # Partition, Region and account are read off this one.
    values["TableArn"] = "arn:@{Partition}:dynamodb:@{Region}:@{AccountId}:table/@{TableName}"
    if settings.network == "none":
        values |= dict.fromkeys(_OF_NETWORK, "")
    if settings.mail_domain is None:
        values |= dict.fromkeys(("MailDomain", "MailConfigurationSet"), "")
    return Foundation.model_validate(values)


def refer(node: Any, names: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a template is plain data
    """Return `node` with every placeholder replaced by what `names` has for it."""
    match node:
        case dict():
            return {key: refer(value, names) for key, value in node.items()}
        case list():
            return [refer(value, names) for value in node]
        case str() if found := _MARK.fullmatch(node):
            return names[found[1]]
        case str() if marks := _MARK.findall(node):
            text = _MARK.sub(r"${\1}", node.replace("${", "${!"))
            return {"Fn::Sub": [text, {name: names[name] for name in sorted(set(marks))}]}
        case _:
            return node
