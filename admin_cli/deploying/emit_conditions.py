"""Settles the conditions of an emitted template: it is for one stage, whose settings are known.

What the stage does not have is not in the template either. So nothing refers to a resource that may
be missing, and what decided is no parameter any more that could be changed by mistake.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTHING = {"Ref": "AWS::NoValue"}
_IN_TEXT = re.compile(r"\$\{([A-Za-z0-9]+)\}")


def settle(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template without conditions, as the defaults of its parameters decide them."""
    values = {name: one.get("Default") for name, one in template["Parameters"].items()}
    conditions = template.get("Conditions", {})
    truths = {name: holds(one, conditions, values) for name, one in conditions.items()}
    kept = {
        part: {
            name: _chosen({k: v for k, v in one.items() if k != "Condition"}, truths)
            for name, one in template[part].items()
            if truths.get(one.get("Condition", ""), True)
        }
        for part in ("Resources", "Outputs")
    }
    deciding = set(_references(list(conditions.values())))
    used = set(_references(kept))
    parameters = {
        name: _fixed(one) if name in deciding else one
        for name, one in template["Parameters"].items()
        if name in used
    }
    whole = {k: v for k, v in template.items() if k not in {"Conditions", "Rules"}}
    return {**whole, "Parameters": parameters, **kept}


def holds(
    condition: Mapping[str, Any], others: Mapping[str, Any], values: Mapping[str, Any]
) -> bool:
    """Tell whether a condition is true for these values of the parameters."""
    [(function, given)] = condition.items()
    match function:
        case "Condition":
            return holds(others[given], others, values)
        case "Fn::Equals":
            left, right = (values[one["Ref"]] if isinstance(one, dict) else one for one in given)
            return str(left) == str(right)
        case "Fn::Not":
            return not holds(given[0], others, values)
        case "Fn::And":
            return all(holds(one, others, values) for one in given)
        case "Fn::Or":
            return any(holds(one, others, values) for one in given)
    raise ValueError(f"a condition by {function} is unknown")


def _chosen(node: Any, truths: Mapping[str, bool]) -> Any:  # noqa: ANN401 - a template is plain data
    match node:
        case {"Fn::If": [str(name), yes, no]} if len(node) == 1:
            return _chosen(yes if truths[name] else no, truths)
        case dict():
            pairs = ((key, _chosen(value, truths)) for key, value in node.items())
            return {key: value for key, value in pairs if value != _NOTHING}
        case list():
            return [one for one in (_chosen(value, truths) for value in node) if one != _NOTHING]
    return node


def _references(node: Any) -> Iterator[str]:  # noqa: ANN401 - a template is plain data
    match node:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::Sub": text}:
            yield from _IN_TEXT.findall(text if isinstance(text, str) else text[0])
            if not isinstance(text, str):
                yield from _references(text[1])
        case dict():
            for value in node.values():
                yield from _references(value)
        case list():
            for value in node:
                yield from _references(value)


def _fixed(parameter: dict[str, Any]) -> dict[str, Any]:
    """Allow the one value that the template was written for."""
    rest = {k: v for k, v in parameter.items() if k != "AllowedPattern"}
    return {**rest, "AllowedValues": [parameter["Default"]]}
