"""The table's item STAGE/RUNTIME: which tree a deploy put onto the mount, and of what."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from chalicelib import aws

_KEY = {"pk": "STAGE", "sk": "RUNTIME"}


@dataclass(frozen=True, slots=True)
class RuntimeRecord:
    """What a deploy wanted to serve last.

    `inputs`: SHA-256 of what decides the tree. `before`: the tree that served until then, empty
    for none. `done`: whether it came to the end; until then either of the two may serve.
    """

    inputs: str
    tree: str
    before: str
    done: bool

    @property
    def ours(self) -> set[str]:
        """The trees that serve by a deploy's doing, and by nobody else's."""
        return {self.tree} if self.done else {self.tree, self.before}


def read_runtime(table: str) -> RuntimeRecord | None:
    """Return the record, None when no deploy has put a tree anywhere. Raises ClientError."""
    item = aws.table(table).get_item(Key=_KEY, ConsistentRead=True).get("Item")
    if item is None:
        return None
    inputs, tree, before = (str(item.get(name, "")) for name in ("inputs", "tree", "before"))
    return RuntimeRecord(inputs, tree, before, done=bool(item.get("done")))


def write_runtime(table: str, record: RuntimeRecord) -> None:
    """Write the record. Raises ClientError."""
    aws.table(table).put_item(Item={**_KEY, **asdict(record)})
