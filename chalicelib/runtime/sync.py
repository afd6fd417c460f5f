"""What the function `efs_sync` does: bring a tree onto the mount, switch it, tell what is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from chalicelib.domain import Value
from chalicelib.errors import StorageUnavailable
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.trees import MountBusy
from chalicelib.runtime.unpacking import Unpacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.runtime.trees import Trees
    from chalicelib.runtime.unpacking import Source, Step, Trial

_log = logging.getLogger(__name__)
# Seconds that must be left for another step. A part is some 60 MB to fetch, unpack and write; on
# an elastic file system that is about a second. A trial imports torch for the first time.
STEP_SECONDS = {"fetch": 20.0, "verify": 30.0, "try": 90.0}


class Order(Value):
    """The event. `tree`: for sync and activate."""

    action: Literal["sync", "list", "activate", "rollback"]
    tree: str | None = None


class Sync:
    """Carries orders out.

    Args:
        trees: the mount.
        source: where parts come from.
        trial: tries a tree out before it may serve.
        seconds_left: how long this call may still take.
        tell: hears every step before it is taken.
    """

    def __init__(
        self,
        trees: Trees,
        source: Source,
        trial: Trial,
        seconds_left: Callable[[], float],
        tell: Callable[[Step], None] | None = None,
    ) -> None:
        self._trees = trees
        self._source = source
        self._trial = trial
        self._left = seconds_left
        self._tell = tell or _tell

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return what was reached: `state` is working (call again), done or refused.

        A refusal has its `detail`; the tree that was active stays so.
        """
        try:
            order = Order.model_validate(event)
            if order.action == "list":
                return self._facts("done")
            with self._trees.alone():
                return self._carry_out(order)
        except ValidationError:
            return _refused("the event is no order that this function knows")
        except TreeRefused as refused:
            return _refused(refused.detail)
        except (StorageUnavailable, MountBusy) as error:
            return {"state": "working", "stage": "wait", "detail": str(error)}

    def _carry_out(self, order: Order) -> dict[str, Any]:
        if order.action == "rollback":
            self._trees.rollback()
            return self._facts("done")
        if order.tree is None:
            return _refused("the event names no tree")
        if order.action == "sync":
            work = Unpacking(self._trees, order.tree, self._source, self._trial, self._tell)
            step = work.run(lambda stage: self._left() > STEP_SECONDS[stage])
            if step.stage != "whole":
                return {
                    "state": "working",
                    "stage": step.stage,
                    "done": step.done,
                    "total": step.total,
                }
        self._trees.activate(order.tree)
        self._trees.prune()
        return self._facts("done")

    def _facts(self, state: str) -> dict[str, Any]:
        active = self._trees.active()
        found: list[dict[str, Any]] = []
        for tree in self._trees.installed():
            try:
                manifest = self._trees.manifest(tree)
            except TreeRefused as refused:
                found.append({"tree": tree, "error": refused.detail})
                continue
            found.append(
                {
                    "tree": tree,
                    "python": manifest.python,
                    "platform": manifest.platform,
                    "files": len(manifest.files),
                    "bytes": manifest.size,
                }
            )
        return {
            "state": state,
            "active": active.tree if active else None,
            "previous": active.previous if active else None,
            "trees": found,
        }


def _refused(detail: str) -> dict[str, Any]:
    return {"state": "refused", "detail": detail}


def _tell(step: Step) -> None:
    _log.info("runtime: %s %d of %d", step.stage, step.done, step.total)
