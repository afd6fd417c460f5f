"""What the function `efs_sync` does: bring trees and packs onto the mount, switch them, tell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import ValidationError

from chalicelib.domain import Value
from chalicelib.errors import ModelUnavailable, NotFound, StorageUnavailable
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.trees import MountBusy
from chalicelib.runtime.unpacking import Unpacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.runtime.trees import Trees
    from chalicelib.runtime.unpacking import Shelf, Source, Step, Trial

_log = logging.getLogger(__name__)
# Seconds that must be left for another step. A part is some 60 MB to fetch, unpack and write; on
# an elastic file system that is about a second. A trial imports torch for the first time.
STEP_SECONDS = {"fetch": 20.0, "verify": 30.0, "try": 90.0}


class Models(Protocol):
    """The folder of the packs. Any method may raise ModelUnavailable or NotFound."""

    def facts(self) -> dict[str, Any]:
        """Return what is installed, what answers, and whether that was chosen."""

    def shelf(self, pack: str, sha256: str) -> Shelf:
        """Return where the pack of this folder name and manifest goes."""

    def activate(self, pack: str, *, if_none: bool) -> None:
        """Let a pack answer; `if_none`: unless another one does already."""

    def rollback(self, pack: str) -> None:
        """Let this pack, the one before the active one, answer again."""

    def prove(self, pack: str) -> None:
        """Check a pack's files and its golden answer; it may raise TreeRefused as well."""


class Order(Value):
    """The event. `tree`: for sync, activate and install_model.

    `pack`: the folder of a model, such as cardionet-1; `sha256`: of its manifest; `if_none`:
    whether a model that answers already goes on answering.
    """

    action: Literal[
        "sync",
        "list",
        "activate",
        "rollback",
        "install_model",
        "list_models",
        "verify_model",
        "activate_model",
        "rollback_model",
    ]
    tree: str | None = None
    pack: str | None = None
    sha256: str | None = None
    if_none: bool = False


class Sync:
    """Carries orders out.

    Args:
        trees: the mount.
        source: where parts come from.
        trial: tries a tree out before it may serve.
        seconds_left: how long this call may still take.
        tell: hears every step before it is taken.
        models: the packs on the mount.
        proof: has a pack give its golden answer before it may be seen.
    """

    def __init__(  # noqa: PLR0913 - each is a collaborator
        self,
        trees: Trees,
        source: Source,
        trial: Trial,
        seconds_left: Callable[[], float],
        tell: Callable[[Step], None] | None = None,
        *,
        models: Models | None = None,
        proof: Trial | None = None,
    ) -> None:
        self._trees = trees
        self._source = source
        self._trial = trial
        self._left = seconds_left
        self._tell = tell or _tell
        self._models = models
        self._proof = proof

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return what was reached: `state` is working (call again), done or refused.

        A refusal has its `detail`; the tree that was active stays so.
        """
        try:
            order = Order.model_validate(event)
            match order.action:
                case "list":
                    answer = self._facts("done")
                case "list_models":
                    answer = {"state": "done", **self._packs.facts()}
                case "install_model" | "verify_model" | "activate_model" | "rollback_model":
                    with self._trees.alone():
                        answer = self._carry_out_model(order)
                case _:
                    with self._trees.alone():
                        answer = self._carry_out(order)
        except ValidationError:
            return _refused("the event is no order that this function knows")
        except (TreeRefused, ModelUnavailable, NotFound) as refused:
            return _refused(refused.detail)
        except (StorageUnavailable, MountBusy) as error:
            return {"state": "working", "stage": "wait", "detail": str(error)}
        return answer

    def _carry_out(self, order: Order) -> dict[str, Any]:
        if order.action == "rollback":
            self._trees.rollback()
            return self._facts("done")
        if order.tree is None:
            return _refused("the event names no tree")
        if order.action == "sync":
            working = self._unpack(self._trees, order.tree, self._trial)
            if working is not None:
                return working
        self._trees.activate(order.tree)
        self._trees.prune()
        return self._facts("done")

    def _carry_out_model(self, order: Order) -> dict[str, Any]:
        if order.pack is None:
            return _refused("the event names no pack")
        if order.action == "install_model":
            if order.tree is None or order.sha256 is None or self._proof is None:
                return _refused("the event names no tree, or no manifest")
            shelf = self._packs.shelf(order.pack, order.sha256)
            new = not shelf.has(order.tree)
            working = self._unpack(shelf, order.tree, self._proof) if new else None
            return working or {"state": "done", "new": new, **self._packs.facts()}
        if self._left() <= STEP_SECONDS["try"]:
            return {"state": "working", "stage": "try", "done": 0, "total": 1}
        if order.action == "verify_model":
            return {"state": "done", "error": self._fault(order.pack)}
        if order.action == "activate_model":
            self._packs.activate(order.pack, if_none=order.if_none)
        else:
            self._packs.rollback(order.pack)
        return {"state": "done", **self._packs.facts()}

    def _fault(self, pack: str) -> str | None:
        """Return what is amiss with a pack, which is an answer here and no refusal."""
        try:
            self._packs.prove(pack)
        except (TreeRefused, ModelUnavailable, NotFound) as refused:
            return refused.detail
        return None

    def _unpack(self, shelf: Shelf, tree: str, trial: Trial) -> dict[str, Any] | None:
        """Return how far it came, None when the tree is whole."""
        work = Unpacking(shelf, tree, self._source, trial, self._tell)
        step = work.run(lambda stage: self._left() > STEP_SECONDS[stage])
        if step.stage == "whole":
            return None
        return {"state": "working", "stage": step.stage, "done": step.done, "total": step.total}

    @property
    def _packs(self) -> Models:
        if self._models is None:
            raise TreeRefused("there is no folder of models here")
        return self._models

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
            "switches": active.switches if active else 0,
            "trees": found,
        }


def _refused(detail: str) -> dict[str, Any]:
    return {"state": "refused", "detail": detail}


def _tell(step: Step) -> None:
    _log.info("runtime: %s %d of %d", step.stage, step.done, step.total)
