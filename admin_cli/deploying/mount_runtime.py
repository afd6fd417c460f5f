"""The step of a deploy that brings the packages of requirements-efs.txt onto the mount.

What an operator let serve by hand, with `runtime sync`, `activate` or `rollback`, goes on serving.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from admin_cli.deploying.foundation_plan import Change
from admin_cli.runtime.cached import cached_tree, inputs_of, known_tree, target_of
from admin_cli.runtime.record import RuntimeRecord, read_runtime, write_runtime
from admin_cli.runtime.upload import Upload
from chalicelib import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from admin_cli.foundation import Foundation
    from admin_cli.runtime.build import Bar
    from admin_cli.runtime.remote import Mount
    from admin_cli.runtime.wheels import Target


class Standing(Enum):
    """What a deploy finds on the mount."""

    CURRENT = auto()
    BY_HAND = auto()
    WANTED = auto()


def standing(
    record: RuntimeRecord | None, facts: dict[str, Any], inputs: str, known: str | None
) -> Standing:
    """Tell what is to be done.

    `facts`: what the mount says. `known`: the tree of `inputs`, where it was built already.
    """
    installed = {one["tree"] for one in facts["trees"]}
    active = facts["active"]
    brought = record is not None and record.done and record.inputs == inputs
    # A roll-back by hand is left alone, as long as there is something to roll forward to.
    if record is not None and brought and record.tree in installed and active is not None:
        return Standing.CURRENT
    ours = record.ours if record else set()
    if active is not None and active not in ours | {known}:
        return Standing.BY_HAND
    return Standing.WANTED


def needs_runtime(foundation: Foundation) -> bool:
    """Whether the stage has a file system; else functions find their packages beside Python."""
    return bool(foundation.AccessPointArn)


def runtime_changes(stage: str, foundation: Foundation, mount: Mount) -> Iterator[Change]:
    """Yield what `bring_runtime` would do."""
    if not needs_runtime(foundation):
        return
    target = target_of(stage)
    found = _standing(foundation, mount, target)[0]
    if found is Standing.WANTED:
        what = f"packages of requirements-efs.txt for Python {target.python} onto the mount"
        yield Change("runtime", "create", what)


def bring_runtime(
    stage: str, foundation: Foundation, mount: Mount, tell: Callable[[str], None], bar: Bar
) -> None:
    """Bring the tree of requirements-efs.txt onto the mount and let it serve.

    Goes on where an earlier run ended; sends nothing that is there. Raises CliError and
    botocore's errors.
    """
    if not needs_runtime(foundation):
        tell("packages: the stage has no file system, functions find them beside Python")
        return
    target = target_of(stage)
    found, facts = _standing(foundation, mount, target)
    if found is Standing.CURRENT:
        tell("packages: on the mount already")
        return
    if found is Standing.BY_HAND:
        tell(
            f"packages: tree {facts['active'][:12]} was activated by hand and stays; "
            "`radgate runtime sync` brings another"
        )
        return
    tree, folder = cached_tree(target, tell, bar)
    before = facts["active"] or ""
    record = RuntimeRecord(inputs_of(target), tree, before, done=False)
    # Written first: should this run be killed, the next knows that what serves is a deploy's doing.
    write_runtime(foundation.TableName, record)
    if tree not in {one["tree"] for one in facts["trees"]}:
        work = Upload(aws.s3(), foundation.BucketName, folder)
        tell(f"packages: uploading {work.size / 1e6:.0f} MB in {len(work.manifest.parts)} parts")
        with bar("uploading", work.size) as moved:
            work.run(moved)
    tell("packages: onto the mount")
    mount.sync(tree, lambda text: tell(f"packages: {text}"))
    write_runtime(
        foundation.TableName, RuntimeRecord(record.inputs, tree, before=before, done=True)
    )
    tell(f"packages: tree {tree[:12]} serves")


def _standing(
    foundation: Foundation, mount: Mount, target: Target
) -> tuple[Standing, dict[str, Any]]:
    facts = mount.order("list")
    record = read_runtime(foundation.TableName)
    return standing(record, facts, inputs_of(target), known_tree(target)), facts
